"""Metrics against closed forms, and against values that independent libraries gave."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Energy, Evaluation, Rng, Value, dataset
from ebmark.floors import against_truth, block_jackknife, floor, normalised_mean
from ebmark.metrics.fisher import FisherDivergence, fisher_divergence
from ebmark.metrics.kl import KullbackLeibler
from ebmark.metrics.kl_own import OwnKullbackLeibler
from ebmark.metrics.mmd import MaximumMeanDiscrepancy, mmd2, mmd2_error
from ebmark.metrics.nll import NegativeLogLikelihood
from ebmark.metrics.sliced_wasserstein import SlicedWasserstein, sliced_w2
from ebmark.normaliser import log_z, smc
from ebmark.pairs import median_distance
from tests.normal import LOG_2PI, Normal, Quadratic, Unknown, exactly


def stream(*key: object) -> Rng:
    return Rng.of("test_metrics", *key, dtype=torch.float64)


@dataset("test_rough")
class Rough(Normal):
    """The same without a score."""

    smooth = False


def evaluation(
    target: Dataset, module: nn.Module, log_z: Value, *, n: int = 2000, samples: Tensor | None = None
) -> Evaluation:
    return Evaluation(
        energy=Energy(module),
        dataset=target,
        test=target.sample(n, stream("test")),
        log_z=lambda: log_z,
        samples=lambda: samples,
        true_pair=lambda i, size: (
            target.sample(size, stream("a", i)),
            target.sample(n, stream("b", i)),
        ),
        rng=stream("evaluation"),
        floors={},
    )


# ------------------------------------------------------------------------------- values of other libraries


def test_mmd_of_sbibm(reference: tuple[Tensor, Tensor]) -> None:
    a, b = reference
    median = median_distance(a)
    assert median == pytest.approx(2.1714481037049307, abs=1e-9)
    assert mmd2(a, b, torch.tensor([median])) == pytest.approx(0.04184869691164628, abs=1e-8)
    exact = torch.tensor([median], dtype=torch.float64)
    assert mmd2(a, b, exact) == pytest.approx(0.04184869691164628, abs=1e-9)


def test_sliced_wasserstein_of_pot(reference: tuple[Tensor, Tensor]) -> None:
    a, b = reference
    θ = np.random.default_rng(7).standard_normal((3, 64))
    projections = torch.from_numpy(θ / np.linalg.norm(θ, axis=0))
    assert sliced_w2(a[:300], b, projections) == pytest.approx(0.41685025338770576, abs=1e-9)


def test_fisher_divergence_of_numpy(reference: tuple[Tensor, Tensor]) -> None:
    a, _ = reference
    true = -(a - torch.tensor([0.5, 0, 0], dtype=torch.float64)) / 1.44
    assert fisher_divergence(-a, true).value == pytest.approx(0.1969644537572341, abs=1e-9)


# ------------------------------------------------------------------------------------- likelihood and truth


@pytest.mark.parametrize("d", [1, 2, 5])
def test_kl_and_fisher_of_a_shifted_gaussian(d: int) -> None:
    """KL = F = |m|²/2 between N(0, I) and N(m, I), where the log-Sobolev inequality is tight."""
    m = 0.6
    model = Quadratic(mean=m, constant=7.0)
    at = evaluation(Normal(dim=d), model, exactly(model.log_z(d)), n=20_000)
    kl, fisher = KullbackLeibler().measure(at), FisherDivergence().measure(at)
    assert kl is not None
    assert fisher is not None
    truth = d * m**2 / 2
    assert abs(kl.value - truth) < 4 * kl.se
    assert kl.se == pytest.approx(m * math.sqrt(d / 20_000), rel=0.05)  # the terms are m'x + constant
    assert fisher.value == pytest.approx(truth, abs=1e-12)  # the scores differ by m everywhere
    assert fisher.se == pytest.approx(0, abs=1e-12)


def test_fisher_of_another_precision() -> None:
    """F = d (k - 1)²/2 between N(0, I) and N(0, I/k); the terms have standard deviation √2 F at d = 1."""
    k, n = 1.5, 20_000
    at = evaluation(Normal(dim=1), Quadratic(precision=k), exactly(math.nan), n=n)
    found = FisherDivergence().measure(at)
    assert found is not None
    truth = (k - 1) ** 2 / 2
    assert abs(found.value - truth) < 4 * truth * math.sqrt(2 / n)
    assert found.se == pytest.approx(truth * math.sqrt(2 / n), rel=0.1)
    assert at.energy.meter.passes.second_order == at.energy.meter.passes.backward == 0


@pytest.mark.parametrize("d", [2, 5])
def test_a_perfect_model_has_kl_zero_and_nll_the_entropy(d: int) -> None:
    """With log Z from this package, by quadrature and by sequential Monte Carlo."""
    target, model = Normal(dim=d), Quadratic(constant=-3.0)
    data = target.sample(2000, stream("train"))
    estimate = log_z(Energy(model), data, stream("log_z")).as_value()
    at = evaluation(target, model, estimate)
    kl, nll = KullbackLeibler().measure(at), NegativeLogLikelihood().measure(at)
    assert kl is not None
    assert abs(kl.value) <= 3 * kl.se + 1e-9
    entropy = 0.5 * d * (1 + LOG_2PI)
    assert abs(nll.value - entropy) <= 4 * nll.se
    assert nll.lo < entropy < nll.hi
    assert nll.trusted
    assert kl.trusted


def test_errors_of_test_set_and_log_z_are_joined() -> None:
    terms = torch.tensor([1.0, 3.0], dtype=torch.float64)  # mean 2, standard error 1
    found = normalised_mean(terms, Value(value=5.0, se=0.75, lo=3.5, hi=7.0))
    assert (found.value, found.se) == (7.0, 1.25)
    assert found.lo == pytest.approx(7 - math.hypot(1.96, 1.5))
    assert found.hi == pytest.approx(7 + math.hypot(1.96, 2.0))


def test_doubts_about_log_z_are_passed_on() -> None:
    doubtful = replace(exactly(1.0), trusted=False, reasons="the cap")
    at = evaluation(Normal(), Quadratic(), doubtful)
    for metric in (NegativeLogLikelihood(), KullbackLeibler()):
        found = metric.measure(at)
        assert found is not None
        assert (found.trusted, found.reasons) == (False, "the cap")


def test_what_does_not_apply_is_none() -> None:
    at = evaluation(Unknown(), Quadratic(), exactly(0.0))
    assert KullbackLeibler().measure(at) is None
    assert FisherDivergence().measure(at) is None
    assert FisherDivergence().measure(evaluation(Rough(), Quadratic(), exactly(0.0))) is None


class Holed(nn.Module):
    """NaN where x_0 > 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[..., 0] > 1, torch.nan, 0.5 * x.square().sum(-1))


def test_an_energy_that_is_not_finite_has_no_value() -> None:
    target = Normal(dim=2)
    data = target.sample(1000, stream("train"))
    estimate = log_z(Energy(Holed()), data, stream()).as_value()
    for z in (exactly(0.0), estimate):
        at = evaluation(target, Holed(), z)
        bad = int((at.test[:, 0] > 1).sum())
        for metric in (NegativeLogLikelihood(), KullbackLeibler(), FisherDivergence()):
            found = metric.measure(at)
            assert found is not None
            assert math.isnan(found.value)
            assert not found.trusted
            assert f"not finite at {bad} of 2000 test points" in found.reasons
    for sampled in (MaximumMeanDiscrepancy(), SlicedWasserstein()):
        found = sampled.measure(evaluation(target, Holed(), estimate))
        assert math.isnan(found.value)
        assert not found.trusted
        assert found.reasons.startswith("the energy is not finite at ")


# -------------------------------------------------------------------------------------------------- samples


def gaussian_mmd2(shift: float, d: int, σ: float) -> float:
    """MMD² between N(0, I) and N(m, I): 2 c (1 - exp(-|m|²/(2(σ² + 2)))) with c = (σ²/(σ² + 2))^(d/2)."""
    c = (σ**2 / (σ**2 + 2)) ** (d / 2)
    return 2 * c * (1 - math.exp(-(shift**2) / (2 * (σ**2 + 2))))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_mmd_is_unbiased_and_its_error_real(shift: float) -> None:
    """Mean over 200 replicates at the closed form; claimed error against the spread over them."""
    d, n, m, bandwidths = 2, 100, 150, torch.tensor([0.7, 1.5], dtype=torch.float64)
    found, claimed = [], []
    for i in range(200):
        a = stream("a", i).normal((n, d)) + shift / math.sqrt(d)
        b = stream("b", i).normal((m, d))
        found.append(mmd2(a, b, bandwidths))
        claimed.append(mmd2_error(a, b, bandwidths))
    values = torch.tensor(found, dtype=torch.float64)
    spread = values.std().item()
    truth = sum(gaussian_mmd2(shift, d, σ) for σ in (0.7, 1.5)) / 2
    assert abs(values.mean().item() - truth) < 4 * spread / math.sqrt(200)
    mean_claimed = math.sqrt(sum(c**2 for c in claimed) / 200)
    # The spread of 200 values is itself known to 5 %; between equal laws the error is √2 times too large.
    assert mean_claimed / spread == pytest.approx(1 if shift else math.sqrt(2), rel=0.2)


def test_mmd_in_float32_far_from_the_origin() -> None:
    a, b = stream("a").normal((500, 8)) + 100, stream("b").normal((500, 8)) + 100.3
    bandwidths = torch.tensor([2.0, 4.0])
    assert mmd2(a.float(), b.float(), bandwidths) == pytest.approx(mmd2(a, b, bandwidths), abs=1e-6)


def orthogonal(d: int) -> Tensor:
    """d columns whose mean of (θ'm)² is exactly |m|²/d."""
    return torch.linalg.qr(stream("axes", d).normal((d, d))).Q


def test_sliced_distance_of_a_pure_shift() -> None:
    """W₂² along θ is (θ'm)² exactly, so over an orthonormal set SW₂ = |m|/√d."""
    a, m = stream("a").normal((700, 3)), torch.tensor([0.3, -0.4, 1.2], dtype=torch.float64)
    assert sliced_w2(a + m, a, orthogonal(3)) == pytest.approx(1.3 / math.sqrt(3), abs=1e-12)


def test_sliced_distance_of_two_gaussians() -> None:
    """Independent samples of N(m, I) and N(0, I): |m|/√d up to the sampling error of the means."""
    n, m = 200_000, 1.0
    a = stream("a").normal((n, 4)) + m
    b = stream("b").normal((n, 4))
    se = math.sqrt(2 / n)  # of the difference of means, along every direction
    assert sliced_w2(a, b, orthogonal(4)) == pytest.approx(m, abs=4 * se)


def test_sliced_distance_with_unequal_sizes() -> None:
    """Repeating every point leaves the law unchanged; a hand-made case pins the quantiles."""
    a, b = stream("a").normal((40, 2)), stream("b").normal((60, 2)) + 0.5
    θ = orthogonal(2)
    equal = sliced_w2(a.repeat_interleave(3, 0), b.repeat_interleave(2, 0), θ)
    assert sliced_w2(a, b, θ) == pytest.approx(equal, abs=1e-12)
    two = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    three = torch.tensor([[0.0], [0.0], [3.0]], dtype=torch.float64)
    # Quantiles differ by 0 on (0, 1/2), 1 on (1/2, 2/3) and 2 on (2/3, 1).
    one = torch.ones(1, 1, dtype=torch.float64)
    assert sliced_w2(two, three, one) == pytest.approx(math.sqrt(1 / 6 + 4 / 3), abs=1e-12)


def test_jackknife_of_a_mean() -> None:
    """For a difference of means the jackknife claims the textbook error, within its own spread."""
    n, ratios = 500, []
    for i in range(40):
        a, b = stream("a", i).normal((n, 1)), stream("b", i).normal((n, 1))
        claimed = block_jackknife(lambda x, y: (x.mean() - y.mean()).item(), a, b)
        ratios.append(claimed**2 / (2 / n))
    # A variance from ten blocks is chi-squared with 9 degrees of freedom: relative sd √(2/9).
    assert sum(ratios) / 40 == pytest.approx(1, abs=4 * math.sqrt(2 / 9 / 40))


def test_sliced_error_matches_the_spread() -> None:
    θ, found, claimed = orthogonal(2), [], []
    for i in range(60):
        a, b = stream("a", i).normal((300, 2)) + 1, stream("b", i).normal((300, 2))
        found.append(sliced_w2(a, b, θ))
        claimed.append(block_jackknife(lambda x, y: sliced_w2(x, y, θ), a, b))
    spread = torch.tensor(found).std().item()
    assert math.sqrt(sum(c**2 for c in claimed) / 60) / spread == pytest.approx(1, rel=0.35)


@pytest.mark.parametrize("metric", [MaximumMeanDiscrepancy(), SlicedWasserstein()])
def test_true_samples_stand_at_the_floor_and_others_above(
    metric: MaximumMeanDiscrepancy | SlicedWasserstein,
) -> None:
    target = Normal(dim=3)
    true = target.sample(1000, stream("model"))
    z = replace(exactly(0.0), trusted=False, reasons="the cap")
    same = metric.measure(evaluation(target, Quadratic(), z, samples=true))
    wide = metric.measure(evaluation(target, Quadratic(), z, samples=1.3 * true))
    assert same.source == "smc"
    assert (same.trusted, same.reasons) == (False, "the cap")
    assert abs(same.value - same.floor_mean) < 4 * max(same.se, same.floor_sd)
    assert (wide.floor_mean, wide.floor_sd) == (same.floor_mean, same.floor_sd)
    assert wide.value > wide.floor_mean + 10 * wide.floor_sd
    assert wide.value - wide.floor_mean > 4 * wide.se


def test_the_floor_is_that_of_the_sizes_at_hand() -> None:
    at = evaluation(Normal(dim=2), Quadratic(), exactly(0.0), n=5000)
    sizes: list[tuple[int, int]] = []

    def distance(a: Tensor, b: Tensor) -> float:
        sizes.append((len(a), len(b)))
        return float(len(sizes))

    assert floor(at, SlicedWasserstein(), 700, distance) == (5.5, pytest.approx(np.std(range(10), ddof=1)))
    assert sizes == [(700, 2000)] * 10


def test_at_most_two_thousand_points_of_each() -> None:
    target = Normal(dim=2)
    at = evaluation(target, Quadratic(), exactly(0.0), n=2500, samples=target.sample(2500, stream("model")))
    seen: list[tuple[int, int]] = []

    def distance(a: Tensor, b: Tensor) -> float:
        seen.append((len(a), len(b)))
        return 0.0

    against_truth(at, SlicedWasserstein(), distance, distance)
    assert set(seen) == {(2000, 2000)}


def test_mmd_of_the_samplers_own_samples() -> None:
    """A perfect model's samples by sequential Monte Carlo cannot be told from the truth."""
    target, model = Normal(dim=5), Quadratic()
    found = smc(Energy(model), target.sample(2000, stream("train")), stream("smc"))
    at = evaluation(target, model, found.as_value(), samples=found.samples)
    value = MaximumMeanDiscrepancy().measure(at)
    assert abs(value.value - value.floor_mean) < 4 * max(value.se, value.floor_sd)


# ------------------------------------------------------------------------------------- the method's own log Z


def test_own_divergence_takes_the_methods_log_z_and_no_other():
    """N(0, I) against E = |x|²/2, whose log Z is d/2 log 2π: the divergence is what the method adds to it."""
    at = replace(
        evaluation(Normal(), Quadratic(), Value(value=math.nan)),
        own_log_z=lambda: Value(value=0.5 * Normal().dim * LOG_2PI + 0.25),
    )
    value = OwnKullbackLeibler().measure(at)
    assert value.value == pytest.approx(0.25, abs=1e-12)
    assert value.se == pytest.approx(0, abs=1e-12)
    assert OwnKullbackLeibler().measure(replace(at, own_log_z=lambda: Value(value=0.0, se=0.3))).se == (
        pytest.approx(0.3)
    )


def test_own_divergence_of_a_method_without_log_z_is_not_there():
    assert OwnKullbackLeibler().measure(evaluation(Normal(), Quadratic(), Value(value=0.0))) is None
