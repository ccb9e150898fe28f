"""The oracle: its lattice against closed forms, its closed form against the lattice, what it declines."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ebmark import registry
from ebmark.api import Energy, Rng
from ebmark.quadrature import integrate, lattice

COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.7]], dtype=torch.float64)


def stream(*key: object) -> Rng:
    return Rng.of("test_mle", *key, dtype=torch.float64)


def make(kind: str, name: str, **settings: object) -> Any:
    return registry.get(kind, name)(**settings)


def sample(n: int, *key: object) -> torch.Tensor:
    return stream(*key).normal((n, 2)) @ torch.linalg.cholesky(COVARIANCE).mT + 1


@pytest.mark.parametrize("M", [2, 7, 64, 1000, 4096, 4160])
def test_lattice_is_a_lattice_of_distinct_points_far_apart(M: int) -> None:
    points = lattice(M, 2)
    assert points.shape == (M, 2)
    assert torch.equal(points[:, :1], lattice(M, 1))
    difference = points[1:] - points[1:].round()
    # The densest packing of the plane, the hexagonal one, has 2/√3 = 1.155.
    assert (difference.square().sum(-1) * M).min() > 0.6
    assert (((points[1] * M).round() * 3 % M / M - points[3 % M]) % 1).abs().max() < 1e-12


@pytest.mark.parametrize("d", [1, 2])
def test_shifted_lattice_integrates_a_smooth_function_exactly(d: int) -> None:
    x = (lattice(1024, d) + stream(d).uniform((1, d))) % 1
    f = (3 * (2 * math.pi * x).cos()).exp().prod(-1)
    bessel = torch.special.i0(torch.tensor(3.0, dtype=torch.float64)).item()
    assert f.mean().item() == pytest.approx(bessel**d, rel=1e-10)


@pytest.mark.parametrize(("network", "settings"), [("mlp", {"gain": 0.5}), ("quadratic", {})])
def test_the_loss_is_the_negative_log_likelihood(network: str, settings: dict[str, object]) -> None:
    data = sample(2000, "data")  # with a gain of 0.5 the network does not tilt its base term out of the box
    module = make("network", network, **settings).build(data, stream("weights"))
    energy, x, method = Energy(module), data[:512], make("method", "mle")
    state = method.init(energy, data, stream("init"))
    loss = method.loss(energy, x, state, stream("loss"))
    expected = energy(x).mean().item() + integrate(energy, data).value
    assert loss.item() == pytest.approx(expected, abs=1e-4)
    if network == "quadratic":
        known = make("method", "mle", normaliser="known").loss(energy, x, state, stream("loss"))
        assert known.item() == pytest.approx(expected, abs=1e-9)


def test_known_normaliser_finds_the_covariance() -> None:
    x = sample(4000, "fit")
    module = make("network", "quadratic").build(x, stream("weights"))
    energy, method = Energy(module), make("method", "mle", normaliser="known")
    state = method.init(energy, x, stream("init"))
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss: torch.Tensor = method.loss(energy, x, state, stream())
        torch.autograd.backward([loss])
        return loss

    optimiser.step(closure)
    L = module.get_parameter("tril").detach().tril()
    torch.testing.assert_close(torch.linalg.inv(L @ L.mT), x.T.cov(correction=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.get_parameter("mean").detach(), x.mean(0), rtol=1e-4, atol=1e-5)
    assert energy.meter.passes.backward == 0  # nothing was committed


def test_the_closed_form_costs_what_it_declares() -> None:
    x = sample(64, "cost")
    module = make("network", "quadratic").build(x, stream("weights"))
    energy, method = Energy(module), make("method", "mle", normaliser="known")
    state = method.init(energy, x, stream("init"))
    method.loss(energy, x, state, stream("loss"))
    energy.meter.commit()
    assert energy.meter.passes * (1 / 64) == method.passes(2)


@pytest.mark.parametrize(
    ("settings", "dim", "network", "reason"),
    [
        ({}, 2, "mlp", None),
        ({}, 3, "mlp", "needs d <= 2, not 3"),
        ({}, 3, "quadratic", "mle[normaliser=lattice] needs d <= 2"),
        ({"normaliser": "known"}, 2, "mlp", "mlp has no log Z in closed form"),
        ({"normaliser": "known"}, 32, "quadratic", None),
    ],
)
def test_declines(settings: dict[str, object], dim: int, network: str, reason: str | None) -> None:
    dataset = registry.get("dataset", "gaussian")(dim=dim)
    said = make("method", "mle", **settings).skip(dataset, make("network", network))
    assert said is None if reason is None else reason in str(said)


def test_the_base_term_hides_the_closed_form() -> None:
    assert not make("network", "quadratic", base=True).known_z
