"""Methods with several players or heads: who moves when, what a step costs, what is evaluated."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebmark.api import Energy, Method, Rng, State
from ebmark.errors import SpecError
from ebmark.gradient_test import IsotropicGaussian
from ebmark.methods.adversarial import AdversarialLikelihood
from ebmark.methods.fce import FlowContrastiveEstimation
from ebmark.methods.lsd import LearnedSteinDiscrepancy
from ebmark.methods.tre import TelescopingRatios
from ebmark.methods.vera import VERA

MU = torch.tensor([0.5, -1.0], dtype=torch.float64)
V = 1.7


def at(k: Tensor, heads: int = 1) -> Energy:
    """E = k |x - mu|²/2."""
    return Energy(IsotropicGaussian(MU, k, heads))


def movers(method: Method, steps: int, state: State | None = None) -> list[set[str]]:
    """The players of each of the first steps on Gaussian data, nobody being stepped."""
    k = torch.tensor(1 / V, dtype=torch.float64)
    rng = Rng.of("movers", dtype=torch.float64)
    state, found = state or method.at_gaussian(MU, V, k), []
    for _ in range(steps):
        step = method.step(at(k), MU + math.sqrt(V) * rng.normal((64, 2)), state, rng)
        state = step.state
        found.append(set(step.losses))
    return found


def test_the_critic_moves_at_every_step_and_the_energy_at_every_third():
    both, alone = {"energy", "critic"}, {"critic"}
    assert movers(LearnedSteinDiscrepancy(critic_steps=3), 4) == [both, alone, alone, both]


def test_the_flow_moves_at_every_step_and_the_energy_at_every_second():
    assert movers(AdversarialLikelihood(flow_steps=2), 3) == [
        {"energy", "flow"},
        {"flow"},
        {"energy", "flow"},
    ]


@pytest.mark.parametrize(
    ("accuracy", "who"), [(0.3, {"energy"}), (0.55, {"energy", "flow"}), (0.9, {"flow"})]
)
def test_the_accuracy_of_the_classifier_decides_who_moves(accuracy: float, who: set[str]):
    method = FlowContrastiveEstimation(low=0.5, high=0.6)
    state = method.at_gaussian(MU, V, torch.tensor(1 / V, dtype=torch.float64))
    state = state.update(accuracy=torch.tensor(accuracy, dtype=torch.float64))
    assert movers(method, 1, state) == [who]


def test_a_step_of_the_critic_alone_costs_two_passes():
    method, k = LearnedSteinDiscrepancy(), torch.tensor(0.4, dtype=torch.float64)
    energy, rng = at(k), Rng.of("cost", dtype=torch.float64)
    state = method.at_gaussian(MU, V, k).update(count=torch.tensor(1))
    step = method.step(energy, rng.normal((10, 2)), state, rng)
    step.losses["critic"].backward()
    energy.meter.commit(*step.losses)
    assert energy.meter.passes.total == 20
    assert energy.meter.opponents["critic"].total == 10 * (1 + 1 + 4)


def test_the_telescope_is_the_density_of_the_data():
    method = TelescopingRatios(m=3, scale=2.0)
    k = torch.tensor(method.gaussian_precision(V), dtype=torch.float64)
    state, rng = method.at_gaussian(MU, V, k), Rng.of("x", dtype=torch.float64)
    x = rng.normal((5, 2))
    log_p = -method.graded(at(k, 3), state)(x) - method.log_z(at(k, 3), state, rng).value
    truth = torch.distributions.Normal(MU, torch.full_like(MU, math.sqrt(V))).log_prob(x).sum(-1)
    torch.testing.assert_close(log_p, truth)


def test_the_bound_of_log_z_is_tight_at_the_model_and_below_it_elsewhere():
    method, k = AdversarialLikelihood(), torch.tensor(0.4, dtype=torch.float64)
    log_z, rng = math.log(2 * math.pi / 0.4), Rng.of("bound", dtype=torch.float64)
    assert method.log_z(at(k), method.at_gaussian(MU, V, k), rng).value == pytest.approx(log_z)
    bound = method.log_z(at(k), method.at_gaussian(MU, V, 2 * k), rng)
    gap = math.log(2) + 0.5 - 1  # KL(N(mu, I/2k) | N(mu, I/k)) at d = 2
    assert 0 < bound.se < 0.02
    assert abs(log_z - bound.value - gap) <= 4 * bound.se


def test_the_bound_of_a_generator_without_a_density_is_below_the_exact_one_and_near_it():
    """E log q̂ is not below E log q: 300 draws of z overshoot by little where σ is a fifth of the spread."""
    method, k = VERA(), torch.tensor(0.4, dtype=torch.float64)
    state, rng = method.at_gaussian(MU, V, 2 * k), Rng.of("vera bound", dtype=torch.float64)
    exact = math.log(2 * math.pi / 0.4) - (math.log(2) + 0.5 - 1)
    bound = method.log_z(at(k), state, rng)
    assert exact - 0.5 < bound.value < exact + 4 * bound.se


def test_the_width_of_the_proposals_follows_the_posterior_within_its_bounds():
    method, k = VERA(samples=50), torch.tensor(1 / V, dtype=torch.float64)
    rng, found = Rng.of("eta", dtype=torch.float64), []
    for start in (0.3, 0.01):
        state = method.at_gaussian(MU, V, k).update(eta=torch.tensor(start, dtype=torch.float64))
        for _ in range(200):
            state = method.step(at(k), rng.normal((64, 2)), state, rng).state
        found.append(state.buffers["eta"].item())
    # z - z₀ has √2 times the posterior's standard deviation, here 0.2; few samples see less of it.
    assert all(0.2 < η <= 0.3 for η in found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlowContrastiveEstimation(low=0.7, high=0.6), r"fce\.low: 0\.7 given"),
        (lambda: FlowContrastiveEstimation(flow="glow"), r"fce\.flow: 'glow' given; allowed: spline, affine"),
        (lambda: AdversarialLikelihood(flow_steps=0), r"adversarial\.flow_steps: 0 given"),
        (lambda: LearnedSteinDiscrepancy(lam=0), r"lsd\.lam: 0 given"),
        (lambda: LearnedSteinDiscrepancy(critic_steps=0), r"lsd\.critic_steps: 0 given"),
        (lambda: TelescopingRatios(m=1), r"tre\.m: 1 given; allowed: at least 2; one bridge is nce"),
        (lambda: TelescopingRatios(power=0), r"tre\.power: 0 given"),
        (lambda: VERA(samples=1), r"vera\.samples: 1 given"),
        (lambda: VERA(penalty=-1), r"vera\.penalty: -1 given"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_one_line(make, message: str):
    with pytest.raises(SpecError, match=message):
        make()
