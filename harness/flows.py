"""Flows as opponents of an energy: normalised densities with reparametrised samples, and their stand-in.

Every use is counted on the energy's meter under the opponent's name, in forwards of its own network: a
log-density or a sample is 1 per point, its backward 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Rng, points
from ebmark.errors import SpecError
from ebmark.ops import fit_gaussian

KINDS = ("spline", "affine")
BINS = 8  # of a spline, on ±5 standard deviations


class Density(nn.Module):
    """A normalised density with reparametrised samples.

    Attributes:
        dim: d.
    """

    dim: int

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The sample x ``(..., n, d)`` made of z ~ N(0, I) of that shape, and log q(x) ``(..., n)``."""
        raise NotImplementedError(f"{type(self).__name__} draws no samples")

    def log_prob(self, x: Tensor) -> Tensor:
        """Log q(x) ``(..., n)`` of ``x (..., n, d)``."""
        raise NotImplementedError(f"{type(self).__name__} has no density")


def standard_log_prob(z: Tensor) -> Tensor:
    """Log N(z; 0, I) ``(...)`` of ``z (..., d)``."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


class GaussianDensity(Density):
    """N(mu, I/k0) with the one parameter k0 ``(...)``: a flow's stand-in on Gaussian data."""

    mu: Tensor

    def __init__(self, mu: Tensor, k0: Tensor) -> None:
        super().__init__()
        self.dim = len(mu)
        self.register_buffer("mu", mu)
        self.k0 = nn.Parameter(k0.clone())

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """X = mu + z/√k0, and log q(x)."""
        k0 = self.k0[..., None]
        x = self.mu + z / k0.sqrt()[..., None]
        return x, standard_log_prob(z) + 0.5 * z.shape[-1] * k0.log()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log q(x) ``(..., n)``."""
        k0 = self.k0[..., None]
        return standard_log_prob(k0.sqrt()[..., None] * (x - self.mu)) + 0.5 * x.shape[-1] * k0.log()


class CouplingFlow(Density):
    """x = m + L f(z) with a stack f of coupling layers, m and L L' the data's mean and covariance.

    f starts as the identity up to a hundredth, so that the flow starts as the Gaussian with the data's
    moments.
    """

    mean: Tensor
    tril: Tensor

    def __init__(self, layers: nn.Module, data: Tensor) -> None:
        super().__init__()
        self.dim = data.shape[-1]
        self.layers = layers
        mean, tril = fit_gaussian(data)
        self.register_buffer("mean", mean)
        self.register_buffer("tril", tril)

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The sample made of z, and its log-density."""
        u, log_det = _call(self.layers(), z)
        return self.mean + u @ self.tril.mT, standard_log_prob(z) - log_det - self._log_scale()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log q(x) ``(..., n)``."""
        u = torch.linalg.solve_triangular(self.tril.mT, x - self.mean, upper=True, left=False)
        z, log_det = _call(self.layers().inv, u)
        return standard_log_prob(z) + log_det - self._log_scale()

    def _log_scale(self) -> Tensor:
        return self.tril.diagonal().log().sum()


def _call(transform: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y, log_det = transform.call_and_ladj(x)  # zuko gives every transform of torch this method
    return y, log_det


def coupling_flow(
    data: Tensor, rng: Rng, *, kind: str = "spline", transforms: int = 3, width: int = 64
) -> CouplingFlow:
    """A freshly initialised coupling flow for data like ``data (n, d)``, in its dtype and on its device.

    Args:
        data: what its moments are taken from.
        rng: names the stream of the initial weights; nothing is drawn from it.
        kind: "spline" (monotonic rational-quadratic) or "affine" couplings. At d = 1 there is nothing to
            couple: the layers are maps of that one coordinate.
        transforms: number of couplings.
        width: units in each of the two hidden layers of a coupling's network.

    References: Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, ICLR 2017; Durkan et al.,
    Neural spline flows, NeurIPS 2019.
    """
    from zuko.flows import NICE
    from zuko.transforms import MonotonicRQSTransform

    splines = {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    settings = {"hidden_features": [width, width], "activation": nn.SiLU} if data.shape[-1] > 1 else {}
    # zuko draws from torch's global generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.split("flow").seeds[0])
        flow = NICE(
            data.shape[-1], transforms=transforms, **settings, **(splines if kind == "spline" else {})
        )
    with torch.no_grad():
        for layer in flow.transform.transforms:
            for p in layer.hyper[-1].parameters() if data.shape[-1] > 1 else layer.parameters():
                p.mul_(0.01 if data.shape[-1] > 1 else 0.001)
    return CouplingFlow(flow.transform.to(data), data)


def check_flow(name: str, kind: str, transforms: int) -> None:
    """Refuses settings of the method ``name`` that ``coupling_flow`` cannot take.

    Raises:
        SpecError: an unknown kind, or no transforms.
    """
    if kind not in KINDS:
        raise SpecError(f"{name}.flow: {kind!r} given; allowed: {', '.join(KINDS)}")
    if transforms < 1:
        raise SpecError(f"{name}.transforms: {transforms} given; allowed: at least 1")


def generate(flow: Density, n: int, rng: Rng) -> Tensor:
    """``n`` samples ``(n, d)`` of a trained flow, outside any count."""
    with torch.no_grad():
        return flow.draw(rng.normal((n, flow.dim)))[0]


def flow_sample(
    energy: Energy, flow: Density, shape: tuple[int, ...], rng: Rng, player: str = "flow"
) -> tuple[Tensor, Tensor]:
    """Reparametrised samples y ``shape`` = (..., n, d) and log q(y) ``(..., n)``, counted for ``player``."""
    y, log_q = flow.draw(rng.normal(shape))
    energy.meter.count(points(y), player=player, forward=1, graph=2)
    energy.meter.noise_samples += points(y)
    return y, log_q


def flow_log_prob(energy: Energy, flow: Density, x: Tensor, player: str = "flow") -> Tensor:
    """Log q(x) ``(..., n)``, counted for ``player``."""
    energy.meter.count(points(x), player=player, forward=1, graph=2)
    return flow.log_prob(x)


def radial_mean(f: Callable[[Tensor], Tensor], v: float, d: int) -> float:
    """The mean of f(|x - mu|²) under N(mu, v I) in d dimensions, by quadrature over the radius."""
    r = torch.linspace(0, 12 + math.sqrt(d), 20001, dtype=torch.float64)
    log_norm = (d / 2 - 1) * math.log(2) + math.lgamma(d / 2)
    log_p = torch.xlogy(torch.tensor(d - 1), r) - 0.5 * r.square() - log_norm
    return torch.trapezoid(log_p.exp() * f(v * r.square()), r).item()
