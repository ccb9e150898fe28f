"""Opponents: densities that integrate to one, samples that know their density, reproducible starts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebmark.api import Energy, Rng
from ebmark.errors import SpecError
from ebmark.flows import (
    Density,
    GaussianDensity,
    check_flow,
    coupling_flow,
    flow_log_prob,
    flow_sample,
    generate,
    radial_mean,
)
from ebmark.opponents import (
    Critic,
    GaussianCritic,
    GaussianGenerator,
    ResidualGenerator,
    critic_value_and_trace,
)


def data(d: int = 2, n: int = 4000) -> Tensor:
    """Correlated Gaussian rows ``(n, d)`` with another mean and scale in each column."""
    z = Rng.of("flow data", d, dtype=torch.float64).normal((n, d))
    mix = torch.eye(d, dtype=torch.float64) + 0.5 * torch.ones(d, d, dtype=torch.float64).tril()
    return torch.arange(d, dtype=torch.float64) + z @ mix.T


def bent(flow: Density) -> Density:
    """The flow away from its start: every parameter moved by a fixed random amount."""
    rng = Rng.of("bent", dtype=torch.float64)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * rng.normal(p.shape))
    return flow


@pytest.mark.parametrize("kind", ["spline", "affine"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_sample_knows_its_density(kind: str, d: int):
    flow = bent(coupling_flow(data(d), Rng.of("w"), kind=kind, width=16))
    x, log_q = flow.draw(Rng.of("z", dtype=torch.float64).normal((3, 50, d)))
    assert x.shape == (3, 50, d)
    torch.testing.assert_close(flow.log_prob(x), log_q, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_the_density_integrates_to_one(kind: str):
    flow = bent(coupling_flow(data(), Rng.of("w"), kind=kind, transforms=2, width=16))
    t = torch.linspace(-15, 17, 641, dtype=torch.float64)
    grid = torch.cartesian_prod(t, t)
    with torch.no_grad():
        total = flow.log_prob(grid).exp().sum() * (t[1] - t[0]) ** 2
    assert total.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_a_flow_starts_at_the_moments_of_the_data(kind: str, d: int):
    x = data(d)
    y = generate(coupling_flow(x, Rng.of("w"), kind=kind), 20_000, Rng.of("z", dtype=torch.float64))
    scale = x.std(0)
    torch.testing.assert_close((y.mean(0) - x.mean(0)) / scale, torch.zeros_like(scale), rtol=0, atol=0.04)
    correlation = (y.T.cov() - x.T.cov()) / scale / scale[:, None]
    torch.testing.assert_close(correlation, torch.zeros_like(correlation), rtol=0, atol=0.1)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (coupling_flow(data(), Rng.of(name)).state_dict() for name in "aab")
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_weights_do_not_depend_on_the_type_of_the_data():
    wide = coupling_flow(data(), Rng.of("a"))
    narrow = coupling_flow(data().float(), Rng.of("a"))
    assert {p.dtype for p in narrow.parameters()} == {torch.float32}
    for p, q in zip(wide.layers.parameters(), narrow.layers.parameters(), strict=True):
        torch.testing.assert_close(p.float(), q, rtol=0, atol=0)


def test_a_flow_is_counted_for_its_player_and_its_sample_for_the_energy():
    energy = Energy(torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)).double())
    flow = coupling_flow(data(), Rng.of("w"))
    y, log_q = flow_sample(energy, flow, (10, 2), Rng.of("z", dtype=torch.float64))
    (energy(y) + log_q + flow_log_prob(energy, flow, data()[:10])).sum().backward()
    energy.meter.commit("flow")
    counted = energy.meter.opponents["flow"]
    assert (counted.forward, counted.backward) == (20, 40)
    assert energy.meter.passes.input_gradient == 10
    assert energy.meter.noise_samples == 10


def test_the_gaussian_density_is_that_of_torch():
    mu, k0 = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor([0.4, 2.0], dtype=torch.float64)
    q = GaussianDensity(mu, k0)
    x, log_q = q.draw(Rng.of("z", dtype=torch.float64).normal((2, 7, 2)))
    truth = torch.distributions.Normal(mu, k0.rsqrt()[:, None, None])
    torch.testing.assert_close(log_q, truth.log_prob(x).sum(-1))
    torch.testing.assert_close(q.log_prob(x), log_q)


def test_the_gaussian_generator_has_the_marginal_it_claims():
    mu, k0 = torch.tensor([0.5, -1.0], dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    g, rng = GaussianGenerator(mu, k0, torch.full_like(k0, 0.6)), Rng.of("z", dtype=torch.float64)
    x = g(rng.normal((200_000, 2))) + g.sigma * rng.normal((200_000, 2))
    torch.testing.assert_close(x.mean(0), mu, rtol=0, atol=0.02)
    torch.testing.assert_close(x.var(0), torch.full_like(mu, 2.5), rtol=0.02, atol=0)


def test_a_generator_starts_at_the_moments_of_the_data():
    x, rng = data(), Rng.of("z", dtype=torch.float64)
    g = ResidualGenerator(x, Rng.of("w", dtype=torch.float64))
    with torch.no_grad():
        y = g(rng.normal((100_000, 2)))
    torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(y.T.cov(), x.T.cov(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("rho", [-50.0, 0.0, 50.0])
def test_the_noise_of_a_generator_never_leaves_its_bounds(rho: float):
    g = ResidualGenerator(data(), Rng.of("w", dtype=torch.float64))
    with torch.no_grad():
        g.rho.fill_(rho)
    assert 0.01 - 1e-12 <= (g.sigma / g.sd).item() <= 0.3 + 1e-12


def test_the_trace_of_a_linear_critic_is_exact():
    mu, k0 = torch.zeros(3, dtype=torch.float64), torch.tensor([0.2, 0.9], dtype=torch.float64)
    critic, energy = GaussianCritic(mu, 2.0, k0, 0.5), Energy(torch.nn.Identity())
    rng = Rng.of("v", dtype=torch.float64)
    f, trace = critic_value_and_trace(energy, critic, rng.normal((2, 4, 3)), rng.sign((2, 4, 3)))
    assert f.shape == (2, 4, 3)
    torch.testing.assert_close(trace, (3 * (0.5 - k0))[:, None].expand(2, 4))


def test_the_trace_of_a_critic_is_unbiased():
    critic = Critic(data(), Rng.of("w", dtype=torch.float64), width=8, depth=2)
    x = data()[0]
    jacobian = torch.autograd.functional.jacobian(critic, x)
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # the whole law of v
    _, trace = critic_value_and_trace(Energy(torch.nn.Identity()), critic, x.expand(4, 2), signs)
    torch.testing.assert_close(trace.mean(), jacobian.trace())


@pytest.mark.parametrize(("v", "d"), [(1.7, 2), (0.3, 5), (2.0, 1)])
def test_radial_means_are_those_of_chi_square(v: float, d: int):
    assert radial_mean(torch.ones_like, v, d) == pytest.approx(1, abs=1e-6)
    assert radial_mean(lambda t: t, v, d) == pytest.approx(d * v, rel=1e-6)
    assert radial_mean(lambda t: (-0.5 * t).exp(), v, d) == pytest.approx((1 + v) ** (-d / 2), rel=1e-6)


@pytest.mark.parametrize(("kind", "transforms"), [("glow", 3), ("spline", 0)])
def test_a_flow_that_cannot_be_built_is_refused_with_what_is_allowed(kind: str, transforms: int):
    with pytest.raises(SpecError, match=r"allowed: (spline, affine|at least 1)"):
        check_flow("fce", kind, transforms)


def test_a_flow_learns_through_its_samples():
    flow = coupling_flow(data(), Rng.of("w"))
    y, log_q = flow.draw(Rng.of("z", dtype=torch.float64).normal((64, 2)))
    (y.square().sum(-1) + log_q).mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in flow.parameters())
    assert math.isfinite(sum(p.grad.abs().sum().item() for p in flow.parameters() if p.grad is not None))
