"""Metrics of density and samples against closed forms, and against values that independent libraries gave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Dataset, Energy, Evaluation, Metric, Rng, Value, dataset
from ebmark.errors import SpecError
from ebmark.floors import block_jackknife
from ebmark.metrics.c2st import ClassifierTwoSampleTest, held_out
from ebmark.metrics.coverage import Coverage, Precision, coverage, precision, square_radii
from ebmark.metrics.energy_distance import EnergyDistance, energy_distance, energy_distance_error
from ebmark.metrics.fisher import FisherDivergence
from ebmark.metrics.ksd import SamplerDiagnostic, ksd2
from ebmark.metrics.log_density_mse import LogDensityError
from ebmark.metrics.mode_weights import LargestMode, ModeWeights, SmallestMode, of_posterior, total_variation
from ebmark.metrics.reverse_kl import ReverseKullbackLeibler
from ebmark.metrics.sliced_wasserstein import sliced_w2
from ebmark.report.words import HIGHER, NAMES
from ebmark.trial import Ref
from tests.normal import LOG_2PI, Normal, Quadratic, Unknown, exactly

SAMPLED: tuple[Metric, ...] = (
    EnergyDistance(),
    ClassifierTwoSampleTest(epochs=5),
    Coverage(),
    Precision(),
    ModeWeights(),
    SmallestMode(),
    LargestMode(),
)


def stream(*key: object) -> Rng:
    return Rng.of("test_sample_metrics", *key, dtype=torch.float64)


@dataset("test_pair")
class Pair(Dataset):
    """0.3 N(-3 u, I) + 0.7 N(3 u, I) with u = (1, 0, ...)."""

    dim: int = 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        x = rng.normal((n, self.dim))
        x[:, 0] += torch.where(rng.uniform((n,)) < 0.3, -3.0, 3.0)
        return x

    def _log_joint(self, x: Tensor) -> Tensor:
        first = torch.stack([x[..., 0] + 3, x[..., 0] - 3], -1).square()
        rest = x[..., 1:].square().sum(-1, keepdim=True)
        return self.weights.log().to(x) - 0.5 * (first + rest + self.dim * LOG_2PI)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_joint(x).logsumexp(-1)

    @property
    def weights(self) -> Tensor:
        return torch.tensor([0.3, 0.7], dtype=torch.float64)

    def components(self, x: Tensor) -> Tensor:
        return self._log_joint(x).softmax(-1)


@dataset("test_half")
class Half(Normal):
    """The density of N(0, I) where x_0 > 0, twice."""

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.where(x[..., 0] > 0, super().log_prob(x) + math.log(2), -math.inf)


NO_Z = exactly(0.0)


def evaluation(
    target: Dataset,
    samples: Tensor | None,
    module: nn.Module | None = None,
    log_z: Value = NO_Z,
    *,
    n: int = 600,
) -> Evaluation:
    return Evaluation(
        energy=Energy(module or Quadratic()),
        dataset=target,
        test=target.sample(n, stream("test")),
        log_z=lambda: log_z,
        samples=lambda: samples,
        true_pair=lambda i, size: (target.sample(size, stream("a", i)), target.sample(n, stream("b", i))),
        rng=stream("evaluation"),
        floors={},
    )


def measured(metric: Metric, at: Evaluation) -> Value:
    found = metric.measure(at)
    assert found is not None
    return found


# ------------------------------------------------------------------------------- values of other libraries


def test_energy_distance_of_dcor(reference: tuple[Tensor, Tensor]) -> None:
    a, b = reference
    assert energy_distance(a, b) == pytest.approx(0.16631830996157815, abs=1e-9)
    biased = energy_distance(a, b) + torch.pdist(a).mean() / 400 + torch.pdist(b).mean() / 300
    assert biased.item() == pytest.approx(0.18130599391969415, abs=1e-9)


def test_energy_distance_of_scipy_is_a_root(reference: tuple[Tensor, Tensor]) -> None:
    a, b = (x[:, :1] for x in reference)
    biased = energy_distance(a, b) + torch.pdist(a).mean() / 400 + torch.pdist(b).mean() / 300
    assert math.sqrt(biased) == pytest.approx(0.46191951007226695, abs=1e-9)


def test_coverage_and_precision_of_prdc(reference: tuple[Tensor, Tensor]) -> None:
    a, b = reference
    assert precision(model=b, true=a) == pytest.approx(0.9333333333333333, abs=1e-9)
    assert coverage(model=b, true=a) == pytest.approx(0.8525, abs=1e-9)


def test_kernel_stein_discrepancy_of_kgof(reference: tuple[Tensor, Tensor]) -> None:
    """The V-statistic adds the diagonal of the Stein kernel, |s|² + d."""
    _, b = reference
    value, _ = ksd2(b, -b, 1.0)
    assert value == pytest.approx(0.17988210605789393, abs=1e-9)
    diagonal = (b.square().sum(-1) + 3).mean().item()
    assert (299 * value + diagonal) / 300 == pytest.approx(0.20591702438858625, abs=1e-9)


def test_classifier_of_sbibm(reference: tuple[Tensor, Tensor]) -> None:
    """Accuracy of their classifier on their folds; the second sample is the model's."""
    a, b = reference
    theirs = MLPClassifier(hidden_layer_sizes=(30, 30), max_iter=1000, random_state=1)
    scores = held_out(b, a[:300], theirs, KFold(5, shuffle=True, random_state=1))
    assert ((scores > 0.5) == np.repeat([False, True], 300)).mean() == pytest.approx(
        0.5833333134651184, abs=0.03
    )


# -------------------------------------------------------------------------------------------------- density


def test_log_density_error_of_another_precision() -> None:
    """The log-densities differ by (k - 1)|x|²/2 + constant, of variance d (k - 1)²/2."""
    k, d, n = 1.5, 3, 20_000
    target = Normal(dim=d)
    found = measured(LogDensityError(), evaluation(target, None, Quadratic(precision=k), n=n))
    truth = d * (k - 1) ** 2 / 2
    # Kurtosis of a chi-squared variable with d degrees of freedom: 3 + 12/d.
    error = truth * math.sqrt((2 + 12 / d) / n)
    assert abs(found.value - truth) < 4 * error
    assert found.se == pytest.approx(error, rel=0.1)


def test_log_density_error_sees_weights_and_not_log_z() -> None:
    found = measured(LogDensityError(), evaluation(Normal(), None, Quadratic()))
    assert found.value == pytest.approx(0, abs=1e-20)
    equal = measured(LogDensityError(), evaluation(Pair(), None, EqualPair(), n=20_000))
    truth = 0.3 * 0.7 * math.log(0.7 / 0.3) ** 2  # if the modes did not overlap
    assert equal.value == pytest.approx(truth, rel=0.05)


class EqualPair(nn.Module):
    """The modes of ``Pair`` with equal weights."""

    def forward(self, x: Tensor) -> Tensor:
        return -(Pair()._log_joint(x) - Pair().weights.log()).logsumexp(-1) + math.log(2)


def test_reverse_kl_of_gaussians() -> None:
    """KL(N(m, I/k) | N(0, I)) = d/2 (|m|²/d + 1/k - 1 + log k) at |m|² = d m²."""
    m, k, d, n = 0.6, 1.5, 3, 20_000
    model = Quadratic(mean=m, precision=k)
    samples = m + stream("model").normal((n, d)) / math.sqrt(k)
    at = evaluation(Normal(dim=d), samples, model, exactly(model.log_z(d)))
    found = measured(ReverseKullbackLeibler(), at)
    truth = d / 2 * (m**2 + 1 / k - 1 + math.log(k))
    assert abs(found.value - truth) < 4 * found.se
    # The terms are (1/k - 1) chi²_d / 2 + m'z / √k + constant: variances d (1/k - 1)²/2 and d m²/k.
    assert found.se == pytest.approx(math.sqrt(d * ((1 / k - 1) ** 2 / 2 + m**2 / k) / 2000), rel=0.1)


def test_reverse_kl_of_a_perfect_model_is_zero_and_its_interval_that_of_log_z() -> None:
    target, model = Normal(), Quadratic()
    z = replace(exactly(model.log_z(2)), se=0.1, lo=model.log_z(2) - 0.1, hi=model.log_z(2) + 0.3)
    found = measured(ReverseKullbackLeibler(), evaluation(target, target.sample(500, stream()), model, z))
    assert found.value == pytest.approx(0, abs=1e-12)
    assert (found.lo, found.hi) == (pytest.approx(-0.3, abs=1e-6), pytest.approx(0.1, abs=1e-6))
    assert found.se == pytest.approx(0.1)


def test_reverse_kl_where_the_truth_has_no_mass() -> None:
    samples = Normal().sample(500, stream())
    found = measured(ReverseKullbackLeibler(), evaluation(Half(), samples))
    outside = int((samples[:, 0] <= 0).sum())
    assert math.isnan(found.value)
    assert (found.trusted, found.reasons) == (False, f"not finite at {outside} of 500 model samples")


def test_reverse_kl_takes_the_samplers_samples_only() -> None:
    at = evaluation(Normal(), Normal().sample(500, stream()))
    assert ReverseKullbackLeibler().measure(replace(at, source="own_generator")) is None


# -------------------------------------------------------------------------------------------------- samples


def test_energy_distance_is_unbiased_and_its_error_real() -> None:
    """E|x - y| = √2 (2 φ(s) + s (2 Φ(s) - 1)) at s = m/√2 between N(0, 1) and N(m, 1)."""
    m, s = 1.0, 1 / math.sqrt(2)
    cdf = 0.5 * (1 + math.erf(s / math.sqrt(2)))
    between = math.sqrt(2) * (2 * math.exp(-(s**2) / 2) / math.sqrt(2 * math.pi) + s * (2 * cdf - 1))
    truth = 2 * between - 2 * 2 / math.sqrt(math.pi)
    found, claimed = [], []
    for i in range(200):
        a, b = stream("a", i).normal((100, 1)) + m, stream("b", i).normal((150, 1))
        found.append(energy_distance(a, b))
        claimed.append(energy_distance_error(a, b))
    values = torch.tensor(found, dtype=torch.float64)
    assert abs(values.mean().item() - truth) < 4 * values.std().item() / math.sqrt(200)
    root = math.sqrt(sum(c**2 for c in claimed) / 200)
    assert root / values.std().item() == pytest.approx(1, rel=0.2)  # the spread is itself known to 5 %


def test_energy_distance_in_float32_far_from_the_origin() -> None:
    a, b = stream("a").normal((500, 8)) + 100, stream("b").normal((500, 8)) + 100.3
    assert energy_distance(a.float(), b.float()) == pytest.approx(energy_distance(a, b), abs=1e-5)


def mean_length(square: float, d: int) -> float:
    """E‖z‖ for z ~ N(μ, I) with ‖μ‖² = square."""
    ratio = math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    return math.sqrt(2) * ratio * float(special.hyp1f1(-0.5, d / 2, -square / 2))


def test_a_thousand_dimensions_in_single_precision() -> None:
    """N(m, I) and N(0, I) with ‖m‖² = 16: F = 8, SW₂ = ‖m‖/√d and its floor, D by Laguerre's function."""
    d, n, square = 1000, 2000, 16.0
    m = math.sqrt(square / d)
    target, model = Normal(dim=d), Quadratic(mean=m)
    rng = Rng.of("thousand")  # float32
    test, samples = target.sample(n, rng), target.sample(n, rng) + m
    at = replace(evaluation(target, samples, model, n=10), test=test)
    assert measured(FisherDivergence(), at).value == pytest.approx(square / 2, rel=1e-5)
    distance = energy_distance(samples, test)
    truth = math.sqrt(2) * 2 * (mean_length(square / 2, d) - mean_length(0.0, d))
    assert abs(distance - truth) < 4 * energy_distance_error(samples, test)
    θ = rng.normal((d, 256))
    θ = θ / θ.norm(dim=0)
    shift, none = (sliced_w2(samples - by, test, θ) ** 2 for by in (0.0, m))
    # Along θ the means differ by θ'm, and by no more than √(2/n) between samples of one law.
    assert shift - none == pytest.approx((θ.sum(0) * m).square().mean().item(), abs=4 * m * math.sqrt(2 / n))


def test_area_under_the_curve_of_a_shift() -> None:
    """At d = 1 no classifier beats the order of x itself, of area Φ(m/√2); ours comes close."""
    m, n = 1.0, 1000
    a, b = stream("a").normal((n, 1)) + m, stream("b").normal((n, 1))
    at = replace(evaluation(Normal(dim=1), a, n=n), test=b)
    found = measured(ClassifierTwoSampleTest(epochs=10), at)
    best = 0.5 * (1 + math.erf(m / 2))
    by_x = (a > b.mT).double().mean().item()
    assert abs(by_x - best) < 4 * found.se
    assert by_x - 0.01 < found.value < by_x + 0.005
    # Hanley and McNeil, 1982: exact for exponential scores, and close for normal ones.
    pairs = best / (2 - best) + 2 * best**2 / (1 + best) - 2 * best**2
    assert found.se == pytest.approx(math.sqrt((pairs + (best - best**2) / n) / n), rel=0.1)
    assert found.floor_mean == pytest.approx(0.5, abs=4 * found.floor_sd)


def test_area_of_equal_samples_is_a_half_within_its_error() -> None:
    for i in range(5):
        a, b = stream("a", i).normal((500, 3)), stream("b", i).normal((400, 3))
        placed = ClassifierTwoSampleTest(epochs=5)._placements(a, b)
        assert placed[0].mean().item() == pytest.approx(placed[1].mean().item(), abs=1e-12)
        se = math.sqrt(placed[0].var().item() / 500 + placed[1].var().item() / 400)
        assert se == pytest.approx(math.sqrt((1 / 500 + 1 / 400) / 12), rel=0.1)
        assert abs(placed[0].mean().item() - 0.5) < 4 * se


@pytest.mark.parametrize("setting", [{"folds": 1}, {"hidden": ()}, {"hidden": (0,)}, {"epochs": 0}])
def test_settings_of_the_classifier(setting: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"^c2st\.\w+: .* given; allowed: "):
        ClassifierTwoSampleTest(**setting)  # type: ignore[arg-type]


def test_neighbourhoods_on_a_line() -> None:
    """True points at 0, ..., 9: the ball of an end reaches 5, that of the middle ones 3."""
    true = torch.arange(10, dtype=torch.float64)[:, None]
    assert square_radii(true).tolist() == [25, 16, 9, 9, 9, 9, 9, 9, 16, 25]
    model = torch.tensor([[-4.9], [-5.1], [20.0]], dtype=torch.float64)
    assert precision(model, true) == pytest.approx(1 / 3)
    # -4.9 is 4.9 from 0 and farther from 1 than 4: one of ten.
    assert coverage(model, true) == pytest.approx(1 / 10)


def test_coverage_of_equal_laws() -> None:
    """1 - (n - 1) ... (n - 5) / ((2n - 1) ... (2n - 5)), whatever the law is."""
    n, shares = 400, []
    for i in range(20):
        shares.append(coverage(stream("a", i).normal((n, 2)), stream("b", i).normal((n, 2))))
    truth = 1 - math.prod((n - j) / (2 * n - j) for j in range(1, 6))
    spread = torch.tensor(shares, dtype=torch.float64).std().item()
    assert sum(shares) / 20 == pytest.approx(truth, abs=4 * spread / math.sqrt(20))


@pytest.mark.parametrize("share", [coverage, precision])
def test_jackknife_of_shares_errs_upward(share: Callable[[Tensor, Tensor], float]) -> None:
    """As it does on average for every statistic (Efron and Stein, 1981); here by about a third."""
    found, claimed = [], []
    for i in range(60):
        a, b = 1.5 * stream("a", i).normal((300, 2)), stream("b", i).normal((300, 2))
        found.append(share(a, b))
        claimed.append(block_jackknife(share, a, b))
    spread = torch.tensor(found, dtype=torch.float64).std().item()
    # Over 60 replicates the ratio is known to 11 %.
    assert 1 < math.sqrt(sum(c**2 for c in claimed) / 60) / spread < 1.8


def test_weights_of_modes() -> None:
    """Half the samples in a mode of weight 0.3: a total variation of 0.2 and ratios of 5/3 and 5/7."""
    n = 2000
    x = stream("x").normal((n, 2))
    x[:, 0] += torch.where(torch.arange(n) % 2 == 0, -3.0, 3.0)
    at = evaluation(Pair(), x)
    overlap = 0.5 * math.erfc(3 / math.sqrt(2))
    wrong, least, most = (measured(metric, at) for metric in (ModeWeights(), SmallestMode(), LargestMode()))
    # The share is exact but for the overlap: the samples were dealt, not drawn.
    assert wrong.value == pytest.approx(0.2, abs=3 * overlap)
    assert most.value == pytest.approx(0.5 / 0.3, abs=10 * overlap)
    assert least.value == pytest.approx(0.5 / 0.7, abs=10 * overlap)
    assert wrong.se == pytest.approx(0.5 / math.sqrt(n), rel=0.02)
    assert most.se == pytest.approx(0.5 / 0.3 / math.sqrt(n), rel=0.02)
    missing = measured(SmallestMode(), evaluation(Pair(), x[1::2]))
    assert missing.value < 0.02


def test_error_of_weights_matches_the_spread() -> None:
    weights, found, claimed = Pair().weights, [], []
    for i in range(200):
        labels = (stream("labels", i).uniform((300, 1)) < 0.5).double()
        value, se = of_posterior(torch.cat([labels, 1 - labels], 1), weights, total_variation)
        found.append(value)
        claimed.append(se)
    spread = torch.tensor(found, dtype=torch.float64).std().item()
    assert sum(claimed) / 200 / spread == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    "target",
    [
        registry.ref("dataset", "mixture", ratio=0.7, radius=1.0),
        registry.ref("dataset", "two_modes", weight=0.2, m=1.0),
    ],
    ids=["mixture", "two_modes"],
)
def test_components_of_data_sets(target: Ref) -> None:
    """Posteriors add to one, and their mean over exact samples is the weights."""
    made: Dataset = registry.make(target)
    x = made.sample(20_000, stream())
    posterior = made.components(x)
    weights = made.weights
    assert weights is not None
    assert posterior.shape == (20_000, len(weights))
    torch.testing.assert_close(posterior.sum(-1), torch.ones(20_000, dtype=torch.float64))
    error = posterior.std(0) / math.sqrt(20_000)
    assert ((posterior.mean(0) - weights).abs() < 4 * error).all()


def test_a_perfect_samplers_discrepancy_is_at_its_floor_and_a_missing_mode_is_not_seen() -> None:
    target, model = Pair(dim=2), Pair(dim=2)
    energy = LogProb(model)
    x = target.sample(600, stream("x"))
    right = measured(SamplerDiagnostic(), evaluation(target, x, energy))
    wide = measured(SamplerDiagnostic(), evaluation(target, 1.3 * x, energy))
    missing = measured(SamplerDiagnostic(), evaluation(target, x[x[:, 0] > 0], energy))
    assert abs(right.value - right.floor_mean) < 4 * right.floor_sd
    assert wide.value > wide.floor_mean + 10 * wide.floor_sd
    assert missing.value < missing.floor_mean + 5 * missing.floor_sd


class LogProb(nn.Module):
    """The exact energy of a target."""

    def __init__(self, target: Dataset) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return -self.target.log_prob(x)


def test_error_of_the_stein_discrepancy_matches_the_spread() -> None:
    found, claimed = [], []
    for i in range(200):
        x = stream("x", i).normal((200, 2)) + 0.5
        value, se = ksd2(x, -x, 1.5)
        found.append(value)
        claimed.append(se)
    spread = torch.tensor(found, dtype=torch.float64).std().item()
    assert math.sqrt(sum(c**2 for c in claimed) / 200) / spread == pytest.approx(1, rel=0.2)


def test_the_stein_discrepancy_of_a_score_that_is_not_finite() -> None:
    class Cliff(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(-1) * torch.where(x[..., 0] > 1, torch.nan, 1.0)

    x = Normal().sample(500, stream())
    found = measured(SamplerDiagnostic(), evaluation(Normal(), x, Cliff()))
    assert math.isnan(found.value)
    assert found.reasons == f"the score is not finite at {int((x[:, 0] > 1).sum())} of 500 samples"


@pytest.mark.parametrize("metric", SAMPLED, ids=lambda metric: metric.name)
def test_true_samples_stand_at_the_floor_and_wrong_ones_beyond(metric: Metric) -> None:
    target = Pair(dim=3)
    true = target.sample(600, stream("model"))
    wrong = 2.0 * true
    wrong[:, 0] = wrong[:, 0].abs()  # one mode is missing, the other one too wide
    doubted = replace(NO_Z, trusted=False, reasons="the cap")
    same = measured(metric, evaluation(target, true, log_z=doubted))
    worse = measured(metric, evaluation(target, wrong, log_z=doubted))
    assert (same.source, same.trusted, same.reasons) == ("smc", False, "the cap")
    assert (same.lo, same.hi) == pytest.approx((same.value - 1.96 * same.se, same.value + 1.96 * same.se))
    assert abs(same.value - same.floor_mean) < 4 * max(same.se, same.floor_sd)
    assert (worse.floor_mean, worse.floor_sd) == (same.floor_mean, same.floor_sd)
    sign = -1 if metric.better == "higher" else 1
    assert sign * (worse.value - worse.floor_mean) > 5 * worse.floor_sd


@pytest.mark.parametrize("metric", [*SAMPLED, SamplerDiagnostic(), ReverseKullbackLeibler()])
def test_without_samples_there_is_no_value(metric: Metric) -> None:
    found = measured(metric, evaluation(Pair(), None))
    assert math.isnan(found.value)
    assert (found.trusted, found.reasons) == (False, "the sampler met an energy that is not finite")


@pytest.mark.parametrize("metric", [*SAMPLED, SamplerDiagnostic()])
def test_samples_that_are_not_finite_have_no_value(metric: Metric) -> None:
    """A generator may diverge."""
    samples = Pair().sample(100, stream())
    samples[3, 1] = math.nan
    found = measured(metric, replace(evaluation(Pair(), samples), source="own_generator"))
    assert math.isnan(found.value)
    assert (found.trusted, found.reasons) == (False, "1 of 100 samples are not finite")
    assert found.source == "own_generator"


def test_what_real_data_have() -> None:
    """Two-sample metrics do without a density; those of density and of components do not apply."""
    x = Unknown().sample(600, stream())
    at = evaluation(Unknown(), x)
    for metric in (LogDensityError(), ReverseKullbackLeibler(), ModeWeights(), SmallestMode(), LargestMode()):
        assert metric.measure(at) is None
    for metric in SAMPLED[:4]:
        found = measured(metric, at)
        assert math.isfinite(found.value) and math.isfinite(found.floor_sd)
    diagnostic = measured(SamplerDiagnostic(), at)
    assert math.isfinite(diagnostic.value)
    assert math.isnan(diagnostic.floor_mean)  # the true score is not known


def test_too_few_points_have_no_neighbourhood() -> None:
    at = evaluation(Normal(), Normal().sample(100, stream()), n=5)
    assert Coverage().measure(at) is None
    assert Precision().measure(at) is None


def test_every_metric_has_a_name_in_words_a_unit_and_a_direction() -> None:
    for name in registry.names("metric"):
        metric: Metric = registry.make(registry.ref("metric", name))
        assert name in NAMES
        assert metric.better == ("higher" if name in HIGHER else "lower")
        assert set(metric.needs) <= {"density", "log_z", "samples"}
