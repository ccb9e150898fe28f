"""Stationary laws, acceptance rates and costs of the chains, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Energy, Rng, State
from ebmark.chains import first_root
from ebmark.errors import SpecError
from ebmark.samplers import TARGET_ACCEPTANCE, Chain, adapt, hmc, langevin


class Quadratic(nn.Module):
    """E = λ|x|²/2: the stationary law is N(0, I/λ)."""

    def __init__(self, precision: float) -> None:
        super().__init__()
        self.precision = precision

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.precision * x.square().sum(-1)


class Broken(nn.Module):
    """N(0, 1) inside |x| < 1 and NaN outside."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.abs() < 1, 0.5 * x.square(), torch.nan).sum(-1)


def stream(*key: object) -> Rng:
    return Rng.of("test_samplers", *key, dtype=torch.float64)


def transitions(name: str, energy: Energy, x: Tensor, k: int, h: Tensor, rng: Rng) -> Chain:
    if name == "hmc":
        return hmc(energy, x, k=k, leapfrogs=3, h=h, rng=rng)
    return langevin(energy, x, k=k, h=h, rng=rng, adjust=name == "mala", test=name == "mala")


@pytest.mark.parametrize(("name", "h"), [("ula", 0.3), ("ula", 0.05), ("mala", 0.5), ("hmc", 0.2)])
def test_stationary_variance(name: str, h: float) -> None:
    precision, n = 2.0, 100_000
    h = h / precision
    variance = 1 / (precision * (1 - h * precision / 2)) if name == "ula" else 1 / precision
    rng = stream(name, h)
    x = rng.normal((n, 1)) * math.sqrt(variance)
    x = transitions(name, Energy(Quadratic(precision)), x, 40, torch.tensor(h, dtype=torch.float64), rng).x
    se = variance * math.sqrt(2 / n)  # of the mean of x², which is variance times chi-squared
    assert abs(x.square().mean().item() - variance) < 4 * se
    assert abs(x.mean().item()) < 4 * math.sqrt(variance / n)


@pytest.mark.parametrize("name", ["ula", "mala", "hmc"])
def test_forgets_its_start(name: str) -> None:
    precision, n, h = 2.0, 20_000, 0.1
    variance = 1 / (precision * (1 - h * precision / 2)) if name == "ula" else 1 / precision
    x = torch.full((n, 1), 2.0, dtype=torch.float64)
    energy = Energy(Quadratic(precision))
    x = transitions(name, energy, x, 120, torch.tensor(h, dtype=torch.float64), stream(name)).x
    assert abs(x.mean().item()) < 4 * math.sqrt(variance / n)
    assert abs(x.var().item() - variance) < 4 * variance * math.sqrt(2 / n)


def test_ula_diverges_beyond_its_limit() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    h = torch.tensor(2.1, dtype=torch.float64)  # |1 - h λ| = 1.1: the mean grows as 1.1^k
    x = langevin(Energy(Quadratic(1.0)), x, k=400, h=h, rng=stream(), adjust=False, test=False).x
    assert abs(x.item()) > 1.1**300


@pytest.mark.parametrize("d", [100, 1000])
def test_mala_acceptance_of_roberts_and_rosenthal(d: int) -> None:
    rng = stream(d)
    x = rng.normal((200_000 // d, d))
    h = torch.tensor(1.362 * d ** (-1 / 3), dtype=torch.float64)
    acceptance = langevin(Energy(Quadratic(1.0)), x, k=10, h=h, rng=rng, adjust=True).acceptance.item()
    assert acceptance == pytest.approx(0.574, abs=0.02)


def test_one_leapfrog_is_mala() -> None:
    energy, h = Energy(Quadratic(1.5)), torch.tensor([0.2, 0.7], dtype=torch.float64)
    x = stream("start").normal((2, 50, 3))
    a = langevin(energy, x, k=7, h=h, rng=stream("chain"), adjust=True)
    b = hmc(energy, x, k=7, leapfrogs=1, h=h, rng=stream("chain"))
    torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.acceptance, b.acceptance, rtol=0, atol=1e-12)
    torch.testing.assert_close(a.displacement, b.displacement, rtol=0, atol=1e-12)


def test_leapfrog_error_is_of_second_order() -> None:
    """Halving ε at a fixed length L ε divides the energy error by 4, so 1 - acceptance falls by 4 as well."""
    x = stream("start").normal((20_000, 1))
    loss = []
    for leapfrogs, ε in ((2, 0.5), (4, 0.25), (8, 0.125)):
        h = torch.tensor(0.5 * ε**2, dtype=torch.float64)
        chain = hmc(Energy(Quadratic(1.0)), x, k=1, leapfrogs=leapfrogs, h=h, rng=stream("chain"))
        loss.append(1 - chain.acceptance.item())
    assert loss[0] / loss[1] == pytest.approx(4, rel=0.1)
    assert loss[1] / loss[2] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_counted_work(lead: tuple[int, ...]) -> None:
    n, k, leapfrogs = 5, 4, 3
    x = torch.zeros(*lead, n, 2, dtype=torch.float64)
    h = torch.full(lead, 0.1, dtype=torch.float64)
    chains = math.prod(lead) * n
    calls = {
        k: lambda e, r: langevin(e, x, k=k, h=h, rng=r, adjust=False, test=False),
        k + 1: lambda e, r: langevin(e, x, k=k, h=h, rng=r, adjust=True),
        1 + k * leapfrogs: lambda e, r: hmc(e, x, k=k, leapfrogs=leapfrogs, h=h, rng=r),
    }
    for gradients, call in calls.items():
        energy = Energy(Quadratic(1.0))
        chain = call(energy, stream())
        passes = energy.meter.passes
        assert (passes.forward, passes.input_gradient) == (gradients * chains, gradients * chains)
        assert (passes.second_order, passes.backward) == (0, 0)
        assert energy.meter.transitions == k * chains
        assert chain.x.shape == x.shape
        assert chain.acceptance.shape == chain.displacement.shape == lead


def test_an_untested_chain_knows_the_acceptance_of_the_moves_before_its_last() -> None:
    """The same stream with and without the test: the same chain, and the mean over all moves but one."""
    x = stream("start").normal((500, 2))
    h = torch.tensor(0.3, dtype=torch.float64)
    whole, cheap, one = (
        langevin(Energy(Quadratic(1.0)), x, k=k, h=h, rng=stream("chain"), adjust=False, test=test)
        for k, test in ((4, True), (5, False), (1, False))
    )
    assert torch.equal(cheap.acceptance, whole.acceptance)
    assert 0.5 < whole.acceptance < 1
    assert one.acceptance.isnan()


def test_a_step_size_per_leading_index() -> None:
    h = torch.tensor([0.01, 0.1], dtype=torch.float64)
    x = torch.zeros(2, 4000, 1, dtype=torch.float64)
    chain = langevin(Energy(Quadratic(1.0)), x, k=1, h=h, rng=stream(), adjust=False, test=False)
    for variance, expected in zip(chain.x.var((1, 2)).tolist(), (2 * h).tolist(), strict=True):
        assert abs(variance - expected) < 4 * expected * math.sqrt(2 / 4000)


@pytest.mark.parametrize("name", ["mala", "hmc"])
def test_adapt_reaches_the_target_acceptance(name: str) -> None:
    d = 200  # in low dimension HMC accepts more than its target at any step within the bounds
    energy, rng = Energy(Quadratic(1.0)), stream(name)
    x, log_h = rng.normal((100, d)), torch.tensor(1e-3, dtype=torch.float64).log()
    sd2 = torch.tensor(1.0, dtype=torch.float64)
    late = []
    for step in range(300):
        chain = transitions(name, energy, x, 1, log_h.exp(), rng)
        x, log_h = chain.x, adapt(log_h, chain.acceptance, name, sd2=sd2)
        if step >= 200:
            late.append(chain.acceptance.item())
    assert sum(late) / len(late) == pytest.approx(TARGET_ACCEPTANCE[name], abs=0.02)


def test_adapt_stays_within_its_bounds() -> None:
    sd2 = torch.tensor([4.0, 4.0], dtype=torch.float64)
    log_h = torch.tensor([math.log(4.0), math.log(4e-5)], dtype=torch.float64)
    acceptance = torch.tensor([1.0, 0.0], dtype=torch.float64)
    moved = adapt(log_h, acceptance, "mala", sd2=sd2)
    torch.testing.assert_close(moved.exp(), torch.tensor([4.0, 4e-5], dtype=torch.float64))


def test_hmc_rejects_what_is_not_finite() -> None:
    """Where the energy is NaN a proposal counts as acceptance 0, and the chain keeps the law inside."""
    n = 50_000
    rng = stream("broken")
    chain = hmc(
        Energy(Broken()),
        torch.zeros(n, 1, dtype=torch.float64),
        k=60,
        leapfrogs=2,
        h=torch.tensor(0.05, dtype=torch.float64),
        rng=rng,
    )
    φ, mass = math.exp(-0.5) / math.sqrt(2 * math.pi), math.erf(1 / math.sqrt(2))
    variance = 1 - 2 * φ / mass  # of N(0, 1) truncated to (-1, 1)
    squares = chain.x.square()
    assert abs(squares.mean().item() - variance) < 4 * squares.std().item() / math.sqrt(n)
    assert 0 < chain.acceptance.item() < 0.9


class Flat(nn.Module):
    """E = 0: a chain with a tiny step stays within sight of where it started."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.sum(-1)


def replayed(
    capacity: int, steps: int, lead: tuple[int, ...] = (), **settings: object
) -> tuple[Tensor, Tensor]:
    """A replay buffer of chains that start at 0, 1, 2, ... and hardly move, before and after some updates."""
    start = torch.arange(capacity, dtype=torch.float64).expand(*lead, capacity)[..., None]
    method = registry.get("method", "pcd")(k=2, h=1e-8, capacity=capacity, **settings)
    h = torch.full(lead, 1e-8, dtype=torch.float64)
    fresh = {"mean": torch.full((1,), -1e6, dtype=torch.float64), "tril": torch.eye(1, dtype=torch.float64)}
    state = State(buffers={"log_h": h.log(), "sd2": torch.ones_like(h), "chains": start, **fresh})
    rng = stream("replay").stack(lead[0]) if lead else stream("replay")
    for _ in range(steps):
        state = method.step(Energy(Flat()), torch.zeros(*lead, 64, 1, dtype=torch.float64), state, rng).state
    return start, state.buffers["chains"]


@pytest.mark.parametrize("lead", [(), (2,)])
def test_replay_keeps_every_chain_where_it_was(lead: tuple[int, ...]) -> None:
    before, after = replayed(1000, 200, lead, reinit=0.0)
    assert torch.equal(after.round(), before)  # 1000 ancestors, each in its own place
    moved = (after != before).sum().item() / after.numel()
    assert moved > 0.999  # 12.8 updates each


def test_an_update_moves_as_many_chains_as_the_batch_has_points() -> None:
    before, after = replayed(1000, 1, reinit=0.0)
    assert (after != before).sum() == 64


def test_the_share_that_starts_afresh_is_independent_of_the_buffer() -> None:
    before, after = replayed(1000, 1, reinit=0.05)
    afresh = (after - before).abs() > 0.5
    assert afresh.sum() == math.ceil(0.05 * 64)
    assert (after[afresh] + 1e6).abs().max() < 5
    assert (after != before).sum() == 64


def test_replay_needs_a_buffer_as_large_as_the_batch() -> None:
    with pytest.raises(SpecError, match=r"pcd.capacity: 32 given; allowed: at least the batch, 64"):
        replayed(32, 1)


@pytest.mark.parametrize("name", ["cd", "pcd"])
@pytest.mark.parametrize("setting", [{"k": 0}, {"sampler": "gibbs"}, {"h": 0.0}, {"leapfrogs": 0}])
def test_refuses_impossible_chains(name: str, setting: dict[str, object]) -> None:
    (key,) = setting
    with pytest.raises(SpecError, match=rf"^{name}\.{key}: "):
        registry.get("method", name)(**setting)


def test_first_root_is_the_smallest() -> None:
    assert first_root(lambda k: (k - 1) * (k - 2), 0.03) == pytest.approx(1, abs=1e-10)
    assert math.isnan(first_root(lambda k: k - 1, 0.03))
