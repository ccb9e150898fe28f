"""Operators on an energy, each with its declared cost in F per point. Every sign is written here, once.

=====================  ==============================  ======================  ==============  ==============
operator               work as plain autograd does it  backward through it     work executed   backward
=====================  ==============================  ======================  ==============  ==============
``energy(x)``          forward 1                       2                       1               2
``score``              forward 1, input gradient 1     4                       2               4
``score_and_trace``    the score's + second order 2 d  the score's + 4 d       2 + d           2 (2 + d)
``score_and_curve``    the score's + second order 2 M  the score's + 4 M       2 + M           2 (2 + M)
``value_and_gradient`` forward 1, input gradient 1     none                    2               none
=====================  ==============================  ======================  ==============  ==============

What is executed is less where the energy's modules have rules of their own (``derivatives``): beside the
score a perceptron needs one pass for each direction. Some networks need fewer: ``chain`` two for a trace,
free ``experts`` one for any number of directions, ``quadratic`` and logistic ``experts`` none for a trace.
Without rules autograd does the work in the first two columns, with the same results.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Rng, beside, points
from ebmark.derivatives import Along, Derived, derive


def score(energy: Energy, x: Tensor) -> Tensor:
    """s(x) = -∇E(x), shape ``(..., d)``; differentiable in the parameters where gradients are enabled."""
    if found := _by_rules(energy, x, None):
        return -found.gradient
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        s = _score(energy, _input(x), keep=keep, create_graph=keep)
    return s if keep else s.detach()


def value_and_gradient(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """E(x) ``(...)`` and ∇E(x) ``(..., d)``, both detached: what a sampler needs, at 2 F.

    Several heads are added.
    """
    with torch.no_grad():
        if found := _by_rules(energy, x, None):
            return found.value, found.gradient
        energy.meter.count(points(x), forward=1, input_gradient=1)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        E = energy.module(x)
        E = E if E.dim() < x.dim() else E.sum(-1)
        (gradient,) = torch.autograd.grad(E.sum(), x)
    return E.detach(), gradient


def score_and_trace(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """s(x) ``(..., d)`` and tr ∇s(x) ``(...)``, exactly."""
    if (found := _by_rules(energy, x, Along())) and found.curvature is not None:
        return -found.gradient, -found.curvature
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        x = _input(x)
        s = _score(energy, x, keep=keep, create_graph=True)
        trace = torch.zeros_like(s[..., 0])
        for e in torch.eye(x.shape[-1], dtype=x.dtype, device=x.device):
            trace = trace + (_curve(energy, s, x, e.expand_as(x), keep=keep) * e).sum(-1)
    return (s, trace) if keep else (s.detach(), trace.detach())


def score_and_curve(energy: Energy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """s(x) ``(..., d)`` and the curvatures v'∇s(x)v ``(M, ...)`` along M directions v ``(M, ..., d)``."""
    along = Along(v=v.movedim(0, -2), total=False)
    if (found := _by_rules(energy, x, along)) and found.curvature is not None:
        return -found.gradient, -found.curvature.movedim(-1, 0)
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        x = _input(x)
        s = _score(energy, x, keep=keep, create_graph=True)
        curvature = torch.stack([(_curve(energy, s, x, u, keep=keep) * u).sum(-1) for u in v])
    return (s, curvature) if keep else (s.detach(), curvature.detach())


def _by_rules(energy: Energy, x: Tensor, along: Along | None) -> Derived | None:
    """The derivatives by the rules of the energy's modules, counted; None where one lacks a rule for them."""
    if not energy.ruled:
        return None
    found = derive(energy.module, x, along)
    if along is not None and found.curvature is None:
        return None
    d = x.shape[-1]
    directions = 0 if along is None else d if along.v is None else along.v.shape[-2]
    done = 2 + found.tangents
    energy.meter.count(
        points(x),
        graph=4 + 4 * directions,
        forward=1,
        input_gradient=1,
        second_order=2 * directions,
        executed=(done, 2 * done),
    )
    return found


def _input(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.detach().requires_grad_()


def _score(energy: Energy, x: Tensor, *, keep: bool, create_graph: bool) -> Tensor:
    energy.meter.count(points(x), graph=4 * keep, forward=1, input_gradient=1)
    (gradient,) = torch.autograd.grad(energy.module(x).sum(), x, create_graph=create_graph)
    return -gradient


def _curve(energy: Energy, s: Tensor, x: Tensor, v: Tensor, *, keep: bool) -> Tensor:
    """(∇s) v, one Hessian-vector product per point ``(..., d)``."""
    energy.meter.count(points(x), graph=4 * keep, second_order=2)
    (product,) = torch.autograd.grad((s * v).sum(), x, create_graph=keep, retain_graph=True)
    return product


# ---------------------------------------------------------------------------------------- Gaussian noise


def fit_gaussian(data: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean ``(d,)`` and Cholesky factor ``(d, d)`` of ``data (n, d)``, the latter times ``scale``."""
    mean = data.mean(0)
    centred = (data - mean).double()
    covariance = centred.T @ centred / (len(data) - 1)
    # A constant or collinear column would make the factor singular: 1e-6 of the mean variance is added.
    jitter = (
        1e-6 * covariance.diagonal().mean() * torch.eye(len(mean), dtype=torch.float64, device=data.device)
    )
    return mean, scale * torch.linalg.cholesky(covariance + jitter).to(data.dtype)


def gaussian_sample(energy: Energy, shape: tuple[int, ...], mean: Tensor, tril: Tensor, rng: Rng) -> Tensor:
    """Points ``(*shape, d)`` from N(mean, tril tril'), counted as noise samples."""
    ξ = rng.normal((*shape, mean.shape[-1]))
    y = beside(mean, 1, ξ) + ξ @ tril.mT
    energy.meter.noise_samples += points(y)
    return y


def gaussian_log_prob(x: Tensor, mean: Tensor, tril: Tensor) -> Tensor:
    """Log N(x; mean, tril tril') ``(..., n)`` of ``x (..., n, d)``."""
    d = mean.shape[-1]
    z = torch.linalg.solve_triangular(tril.mT, x - beside(mean, 1, x), upper=True, left=False)
    square = z.square().sum(-1)
    log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_p: Tensor = -0.5 * square - beside(log_det, 0, square) - 0.5 * d * math.log(2 * math.pi)
    return log_p


# ---------------------------------------------------------------------------------- points around each datum


def energy_and_neighbours(energy: Energy, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """E(x) ``(..., n)`` and E(y) ``(..., n, M)`` of ``x (..., n, d)`` and neighbours y ``(..., n, M, d)``.

    All share one forward.
    """
    energy.meter.noise_samples += points(y)
    E = energy(torch.cat([x, y.flatten(-3, -2)], -2))
    n = x.shape[-2]
    return E[..., :n], E[..., n:].reshape(y.shape[:-1])


def effective_share(log_w: Tensor) -> Tensor:
    """Effective sample size over M ``(...)``, in (0, 1], of importance weights exp(log_w) ``(..., M)``."""
    w = log_w.softmax(-1)
    return 1 / (w.shape[-1] * w.square().sum(-1))
