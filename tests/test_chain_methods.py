"""Chain methods beyond the conformance test: generator, ladder, graded head, buffer, adapted steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Energy, Rng, State
from ebmark.conformance import counts

VARIANCE = 1.7


class Heads(nn.Module):
    """E_l = k_l |x|²/2."""

    def __init__(self, *k: float) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.tensor(k, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        E = 0.5 * self.k * x.square().sum(-1, keepdim=True)
        return E if len(self.k) > 1 else E.squeeze(-1)


def make(name: str, **settings: object) -> Any:
    return registry.get("method", name)(**settings)


def stream(*key: object) -> Rng:
    return Rng.of("test_chain_methods", *key, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.3])
def test_short_run_generates_the_data_at_its_minimiser(scale: float) -> None:
    method = make("short_run", k=5, h=0.05 * VARIANCE, scale=scale)
    mu = torch.tensor([3.0, -1.0], dtype=torch.float64)
    energy = Energy(Shifted(mu, method.gaussian_precision(VARIANCE)))
    state = method.at_gaussian(mu, VARIANCE, torch.tensor(1.0, dtype=torch.float64))
    n = 50_000
    x = method.generate(energy, state, n, stream(scale))
    assert x.shape == (n, 2)
    assert (x.mean(0) - mu).abs().max() < 4 * math.sqrt(VARIANCE / n)
    assert (x.var(0) - VARIANCE).abs().max() < 4 * VARIANCE * math.sqrt(2 / n)


class Shifted(nn.Module):
    """E = k |x - mu|²/2."""

    def __init__(self, mu: Tensor, k: float) -> None:
        super().__init__()
        self.mu, self.k = mu, k

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.k * (x - self.mu).square().sum(-1)


def test_short_run_has_no_minimiser_where_its_noise_is_too_narrow() -> None:
    assert math.isnan(make("short_run", k=5, h=0.05 * VARIANCE, scale=0.5).gaussian_precision(VARIANCE))


def test_recovery_ladder_climbs_from_the_data_to_its_largest_noise() -> None:
    ladder = make("recovery", smallest=0.2, largest=1.6, levels=4).ladder()
    assert ladder[0] == (0, pytest.approx(0.2))
    climbed = [math.hypot(σ, s) for σ, s in ladder]
    assert climbed == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert [σ for σ, _ in ladder[1:]] == pytest.approx(climbed[:-1])


def test_recovery_bias_is_that_of_thirty_steps() -> None:
    """The smallest positive root: 1.06 to 1.08 of 1/v at every level."""
    sd = math.sqrt(VARIANCE)
    method = make("recovery", smallest=0.2 * sd, largest=sd)
    precisions = method.gaussian_precision(VARIANCE)
    assert len(precisions) == method.heads(2) == 6
    for k, (σ, _) in zip(precisions, method.ladder(), strict=True):
        assert 1.05 < k * (VARIANCE + σ**2) < 1.08


def test_recovery_is_graded_by_the_head_without_noise() -> None:
    x = stream("graded").normal((7, 2))
    energy = make("recovery").graded(Energy(Heads(1.0, 5.0, 9.0)), State())
    torch.testing.assert_close(energy(x), 0.5 * x.square().sum(-1))


@pytest.mark.parametrize("sampler", ["mala", "ula", "hmc"])
@pytest.mark.parametrize("name", ["cd", "pcd"])
def test_an_adapted_step_costs_what_is_declared(name: str, sampler: str) -> None:
    finding = counts(make(name, k=3, sampler=sampler, h=None))
    assert finding.ok, finding.found


@pytest.mark.parametrize(("n", "reinit"), [(40, 0.3), (100, 0.0)])
def test_pcd_writes_the_chains_that_its_loss_has_seen_back_to_the_buffer(n: int, reinit: float) -> None:
    """n rows of the buffer change, and their mean energy is the loss's second term; the rest stays."""
    method = make("pcd", k=2, sampler="ula", h=0.1, capacity=100, reinit=reinit)
    energy = Energy(Heads(0.8))
    x = stream("pcd").normal((n, 2))
    state = method.init(energy, 3 * stream("pcd", "data").normal((200, 2)), stream("pcd", "init"))
    step = method.step(energy, x, state, stream("pcd", "loss"))
    before, after = state.buffers["chains"], step.state.buffers["chains"]
    moved = (before != after).any(-1)
    assert moved.sum() == n
    torch.testing.assert_close(step.losses["energy"], energy(x).mean() - energy(after[moved]).mean())
    # Two steps of √(2h) from where the chains were, but for the fresh ones, which start 3 wide.
    far = (after - before)[moved].norm(dim=-1) > 6 * math.sqrt(2 * 2 * 0.1)
    assert far.sum() <= math.ceil(reinit * n)
