"""Operators against closed forms and against torch's Hessians, with the work that they count."""

import math

import pytest
import torch

from ebmark.api import Energy, Rng
from ebmark.meter import Meter, Passes
from ebmark.ops import (
    fit_gaussian,
    gaussian_log_prob,
    gaussian_sample,
    score,
    score_and_curve,
    score_and_trace,
    value_and_gradient,
)
from ebmark.rehearsal import SmallNetwork


class Quadratic(torch.nn.Module):
    """E(x) = x'Kx/2 - b'x, for which the score is b - Kx and its derivative -K."""

    def __init__(self, d):
        super().__init__()
        rng = Rng.of("quadratic", d, dtype=torch.float64)
        a = rng.normal((d, d))
        self.K = torch.nn.Parameter(a @ a.T + torch.eye(d, dtype=torch.float64))
        self.b = torch.nn.Parameter(rng.normal((d,)))

    def forward(self, x):
        return 0.5 * (x @ self.K * x).sum(-1) - x @ self.b


@pytest.fixture(params=[1, 2, 5])
def quadratic(request):
    module = Quadratic(request.param)
    x = Rng.of("points", request.param, dtype=torch.float64).normal((3, 7, request.param))
    return module, Energy(module, Meter()), x


def test_score_trace_and_curvature_of_a_quadratic(quadratic):
    module, energy, x = quadratic
    s = module.b - x @ module.K
    v = Rng.of("v", dtype=torch.float64).normal((2, *x.shape))
    assert torch.allclose(score(energy, x), s, atol=1e-12)
    found, trace = score_and_trace(energy, x)
    assert torch.allclose(found, s, atol=1e-12)
    assert torch.allclose(trace, -module.K.trace().expand(3, 7), atol=1e-12)
    found, curvature = score_and_curve(energy, x, v)
    assert torch.allclose(found, s, atol=1e-12)
    assert torch.allclose(curvature, -(v @ module.K * v).sum(-1), atol=1e-12)
    E, gradient = value_and_gradient(energy, x)
    assert torch.allclose(gradient, -s, atol=1e-12)
    assert torch.allclose(E, module(x), atol=1e-12)


def test_score_matching_gradient_vanishes_at_the_maximum_likelihood_estimate():
    """On the full Gaussian family score matching is maximum likelihood: K = inverse covariance, divisor n."""
    module = Quadratic(4)
    x = Rng.of("sample", dtype=torch.float64).normal((50, 4)) @ module.K.detach()
    centred = x - x.mean(0)
    K = torch.linalg.inv(centred.T @ centred / len(x))
    with torch.no_grad():
        module.K.copy_(K)
        module.b.copy_(K @ x.mean(0))
    s, trace = score_and_trace(Energy(module), x)
    (trace + 0.5 * s.square().sum(-1)).mean().backward()
    assert module.K.grad.abs().max() < 1e-12
    assert module.b.grad.abs().max() < 1e-12


def test_derivatives_of_a_network_agree_with_its_hessian():
    rng = Rng.of("network", dtype=torch.float64)
    module = SmallNetwork(3, 1, rng)
    x = rng.normal((11, 3))
    hessian = torch.stack([torch.autograd.functional.hessian(module, point) for point in x])
    s, trace = score_and_trace(Energy(module), x)
    gradient = torch.stack([torch.autograd.functional.jacobian(module, point) for point in x])
    assert torch.allclose(s, -gradient, atol=1e-12)
    assert torch.allclose(trace, -hessian.diagonal(dim1=-2, dim2=-1).sum(-1), atol=1e-12)


@pytest.mark.parametrize(
    ("operator", "work"),
    [
        (lambda e, x: e(x), Passes(forward=1, backward=2)),
        (score, Passes(forward=1, input_gradient=1, backward=4)),
        (
            lambda e, x: score_and_trace(e, x)[1],
            Passes(forward=1, input_gradient=1, second_order=6, backward=16),
        ),
        (
            lambda e, x: score_and_curve(e, x, x[None])[1],
            Passes(forward=1, input_gradient=1, second_order=2, backward=8),
        ),
    ],
)
def test_operators_count_their_work(operator, work):
    energy = Energy(SmallNetwork(3, 1, Rng.of("n", dtype=torch.float64)), Meter())
    operator(energy, torch.ones(2, 5, 3, dtype=torch.float64))
    energy.meter.commit()
    assert energy.meter.passes == work * 10


def test_no_backward_is_counted_where_nothing_is_recorded():
    energy = Energy(SmallNetwork(3, 1, Rng.of("n", dtype=torch.float64)), Meter())
    x = torch.ones(4, 3, dtype=torch.float64)
    with torch.no_grad():
        energy(x)
        assert not score(energy, x).requires_grad
    value_and_gradient(energy, x)
    energy.meter.commit()
    assert energy.meter.passes == Passes(forward=12, input_gradient=8)


def test_fitted_gaussian_has_the_moments_and_the_density_of_its_data():
    data = Rng.of("d", dtype=torch.float64).normal((400, 3)) @ torch.tensor(
        [[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5]], dtype=torch.float64
    )
    mean, tril = fit_gaussian(data, 1.5)
    assert torch.allclose(tril @ tril.T, 2.25 * data.T.cov(), rtol=1e-4, atol=1e-4)  # jitter of 1e-6
    reference = torch.distributions.MultivariateNormal(mean, scale_tril=tril)
    assert torch.allclose(gaussian_log_prob(data, mean, tril), reference.log_prob(data), atol=1e-10)
    energy = Energy(torch.nn.Identity(), Meter())
    n = 20_000
    y = gaussian_sample(energy, (n,), mean, tril, Rng.of("y", dtype=torch.float64))
    assert energy.meter.noise_samples == n
    se = (tril @ tril.T).diagonal().sqrt() / math.sqrt(n)
    assert ((y.mean(0) - mean).abs() <= 4 * se).all()
