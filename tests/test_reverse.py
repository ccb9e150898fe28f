"""The checks of a sampled log Z: backwards runs, the probe, escalation, the interval."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebmark import smc as sequential
from ebmark.api import Energy, Meter
from ebmark.base import Base, Path, fit_base
from ebmark.floors import normalised_mean
from ebmark.normaliser import smc
from ebmark.probe import Modes, _laplace, probe
from ebmark.reverse import GAP, Reverse, gradients, log_mean, reverse
from ebmark.smc import Runs, Schedule
from tests.densities import Funnel, Gaussian, Hidden, Ring, stream

SCHEDULE = Schedule(betas=(0.3, 0.6, 1.0), steps=(0.08, 0.08, 0.08))


def base(d: int, sd: float = 1.2) -> Base:
    """N(0, sd² I) in coordinates that are twice as large as x."""
    unit = torch.eye(d, dtype=torch.float64)
    return Base(
        weights=torch.ones(1, dtype=torch.float64),
        means=torch.zeros(1, d, dtype=torch.float64),
        trils=sd * unit[None],
        inverses=unit[None] / sd,
        centre=torch.ones(d, dtype=torch.float64),
        scale=2 * unit,
    )


class Normal(nn.Module):
    """E = |x - 1|²/8, log Z = ½ d log 8π: the base's shape at unit spread."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 1).square().sum(-1) / 8


def exact(d: int, key: object) -> tuple[Path, Runs, Tensor]:
    """A path to ``Normal``, exact particles of it in equal numbers, and exact data."""
    rng = stream("exact", key)
    z = rng.normal((8, 128, d))
    runs = Runs(z=z, log_w=torch.zeros(8, 128, dtype=torch.float64), acceptance=torch.ones(1))
    return Path(Normal(), base(d), Meter()), runs, 1 + 2 * rng.normal((1000, d))


def test_backwards_from_exact_samples_the_inverse_is_unbiased() -> None:
    """Over 24 results exp(log Z - log Z_reverse) has mean 1 within four standard errors, from both starts."""
    d = 4
    truth = 0.5 * d * math.log(8 * math.pi)
    ratios = []
    for i in range(24):
        path, runs, data = exact(d, i)
        found = Reverse.of(reverse(path, SCHEDULE, runs, data, stream("back", i)))
        ratios.append([math.exp(truth - value) for value in found.values])
    ratio = torch.tensor(ratios, dtype=torch.float64)
    assert ((ratio.mean(0) - 1).abs() < 4 * ratio.std(0) / math.sqrt(24)).all()
    assert ((ratio.std(0) > 0.005) & (ratio.std(0) < 0.2)).all()


def test_the_cost_of_going_backwards_is_known() -> None:
    path, runs, data = exact(3, "cost")
    reverse(path, SCHEDULE, runs, data, stream("cost"))
    # Nothing moves at the last temperature: the starts are its samples.
    spared = 2 * 8 * 32 * (sequential.gradients() - 0.5)
    assert path.at(1.0).meter.passes.total / 2 == gradients(3) - spared


@pytest.mark.parametrize(
    ("values", "above", "below"),
    [
        ((0.1, -0.1), [], []),
        ((0.0, 0.3), ["the reverse run from the data lies 0.3 above"], []),
        ((-0.4, 0.0), [], ["inverted: the reverse run from its own samples lies 0.4 below"]),
        ((math.inf, 0.0), ["the reverse run from its own samples lies inf above"], []),
    ],
)
def test_gaps_in_words(values: tuple[float, float], above: list[str], below: list[str]) -> None:
    found = Reverse(values=values, ses=(0.01, 0.01)).doubts(0.0, 0.01)
    for lines, starts in zip(found, (above, below), strict=True):
        assert len(lines) == len(starts)
        assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_a_gap_within_three_errors_is_no_doubt() -> None:
    noisy = Reverse(values=(0.5, -0.5), ses=(0.2, 0.2))
    assert GAP < 0.5
    assert noisy.doubts(0.0, 0.0) == ([], [])


def test_the_funnel_is_not_trusted_and_its_interval_holds_the_reverse_estimate() -> None:
    """Its samples never enter the neck, where the data are (log Z is too low by more than the error bar)."""
    target = Funnel(50)
    found = smc(Energy(target), target.sample(5000, stream("funnel")), stream("funnel"))
    assert not found.trusted
    assert found.se >= 0.5 * max(abs(value - found.value) for value in found.reverse) - 1e-12
    assert all(found.lo <= value <= found.hi for value in found.reverse)
    nll = normalised_mean(torch.linspace(0, 1, 2000, dtype=torch.float64), found.as_value())
    shift = nll.value - found.value
    assert all(nll.lo <= value + shift <= nll.hi for value in found.reverse)
    assert not nll.trusted


@pytest.mark.parametrize("mass", [1.0, 10.0])
@pytest.mark.parametrize(("d", "R"), [(10, 12.0), (10, 25.0), (50, 12.0)])
def test_a_hidden_mode_is_found_and_included(d: int, R: float, mass: float) -> None:
    """Data of one mode, a model of two: without the probe log Z is too low by log(1 + mass), unflagged."""
    model = Hidden(d, R, mass)
    data = stream("one mode", d).normal((5000, d))
    found = smc(Energy(model), data, stream("hidden", d, R, mass), samples=1000)
    assert abs(found.value - model.log_z) < 3.5 * max(found.se, 0.02)
    assert any(reason.startswith("the probe found mass outside the base") for reason in found.reasons)
    share = model.component(found.samples).double().mean().item()
    expected = mass / (1 + mass)
    # Resampled particles are worth fewer points than they number; a quarter at worst here.
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 250))
    blind = smc(Energy(model), data, stream("hidden", d, R, mass), samples=1, check=False)
    assert blind.value == pytest.approx(model.log_z - math.log1p(mass), abs=0.1)


def test_a_near_mode_is_reached_and_the_base_helped() -> None:
    """Six deviations away the widest particles reach it: log Z is right, and there is nothing to find."""
    model = Hidden(10, 6.0, 1.0)
    data = stream("one mode").normal((5000, 10))
    found = smc(Energy(model), data, stream("near"), samples=1)
    assert abs(found.value - model.log_z) < 3.5 * max(found.se, 0.02)
    assert abs(found.value - model.log_z) < 0.15


def test_starts_of_the_caller_lead_to_what_wide_starts_miss() -> None:
    """A mode a quarter as wide as the model at d = 10 has a basin that wide starts do not meet."""
    model = Hidden(10, 12.0, 1.0, sd=0.25)
    data = stream("narrow").normal((5000, 10))
    missed = smc(Energy(model), data, stream("narrow"), samples=1)
    starts = model.at + stream("buffer").normal((20, 10))
    found = smc(Energy(model), data, stream("narrow"), samples=1, starts=starts)
    assert missed.value == pytest.approx(model.log_z - math.log(2), abs=0.1)
    assert abs(found.value - model.log_z) < 3.5 * max(found.se, 0.02)


@pytest.mark.parametrize("d", [10, 50])
def test_an_end_beside_its_peak_has_the_mass_of_the_peak(d: int) -> None:
    """Newton's step from 0.3 off in every coordinate, 0.045 d nats below: the Laplace mass is exact."""
    path = Path(Normal(), base(d, 1.0), Meter())
    found = _laplace(path, torch.full((1, d), 0.3, dtype=torch.float64))
    assert found.log_mass.item() == pytest.approx(0.5 * d * math.log(8 * math.pi), abs=1e-6)
    assert found.means.abs().max().item() < 1e-6


@pytest.mark.parametrize(("R", "mass"), [(12.0, 1.0), (25.0, 10.0)])
def test_hidden_modes_of_many_dimensions_are_found(R: float, mass: float) -> None:
    """The probe alone at d = 128, where an ascent ends some nats below the peak."""
    d = 128
    model = Hidden(d, R, mass)
    rng = stream("many", R)
    path = Path(model, fit_base(rng.normal((5000, d)), rng), Meter())
    pilot = sequential.pilot(path, rng, 30)
    found = probe(path, pilot, None, rng)
    distance = (path.base.to_data(found.means) - model.at).norm(dim=-1)
    at = distance.argmin()
    assert distance[at] < 0.1 * math.sqrt(d)
    assert found.log_mass[at].item() == pytest.approx(
        0.5 * d * math.log(2 * math.pi) + math.log(mass), abs=0.1
    )
    assert found.missed[at]


def test_disagreement_is_followed_by_more_runs_and_moves_within_the_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the directions never agree, all four rounds are made if the cap pays for them."""
    target = Gaussian(8)
    data = target.sample(2000, stream("again"))
    settled = smc(Energy(target), data, stream("again"), max_gradients=900_000, samples=1)
    never = torch.full((2, 8), -99.0, dtype=torch.float64)
    monkeypatch.setattr("ebmark.estimate.reverse", lambda *_: never)
    short, long = (
        smc(Energy(target), data, stream("again"), max_gradients=cap, samples=1) for cap in (100_000, 900_000)
    )
    assert settled.trusted, settled.reasons
    assert not long.trusted
    assert short.gradients <= 100_000
    # One more round as the first, two of twice the moves.
    assert settled.gradients < long.gradients < 900_000
    more = 8 * 128 * (sequential.gradients() + 2 * sequential.gradients(4))
    assert long.gradients - short.gradients > more


def test_runs_that_join_are_one_set() -> None:
    """The mean of Z over all runs, and of every temperature the smallest acceptance."""
    z, log_w = stream("join").normal((16, 128, 3)), stream("weights").normal((16, 128))
    high, low = torch.tensor([0.9, 0.5]), torch.tensor([0.7, 0.6])
    parts = [
        Runs(z=z[:8], log_w=log_w[:8], acceptance=high),
        Runs(z=z[8:], log_w=log_w[8:], acceptance=low),
    ]
    both = Runs.joined(parts)
    assert both.acceptance.tolist() == pytest.approx([0.7, 0.5])
    expected = log_w.exp().mean().log()
    assert log_mean(both.log_z)[0] == pytest.approx(expected.item())
    assert torch.equal(both.z, z)


def test_added_modes_keep_the_base_a_density() -> None:
    """E_q[p/q] = 1 for a Gaussian p over both parts, and a fifth of the samples are at the mode."""
    mode = torch.full((1, 3), 20.0, dtype=torch.float64)
    unit = torch.eye(3, dtype=torch.float64)[None]
    q = base(3).with_modes(mode, unit)
    z = q.sample((4000,), stream("modes"))
    assert (z[:, 0] > 10).double().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 4000))
    parts = torch.distributions.MultivariateNormal(q.means, scale_tril=q.trils)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(q.weights), parts)
    torch.testing.assert_close(q.log_prob(z), mixture.log_prob(z))
    torch.testing.assert_close(q.to_white(q.to_data(z)), z)
    modes = Modes(means=mode, trils=q.trils[1:], log_mass=torch.zeros(1), missed=torch.ones(1))
    near, inside = z[:, 0] > 10, modes.inside(z)[0]
    assert not inside[~near].any()
    # Four deviations above the mean of χ² with 3 degrees of freedom: 12.8, exceeded by 0.5 %.
    assert inside[near].double().mean().item() == pytest.approx(0.995, abs=0.01)


def test_wrong_weights_of_known_modes_are_called_inverted() -> None:
    """Data with the reversed weights of isolated modes: the path from the data is below by log Σ m'²/m."""
    model, other = Ring(4, radius=6), Ring(4, radius=6)
    other.weights = other.weights.flip(0)
    found = smc(Energy(model), other.sample(5000, stream("flipped")), stream("flipped"), samples=1)
    assert abs(found.value - model.log_z) < 3.5 * max(found.se, 0.05)
    assert any(reason.startswith("inverted: the reverse run from the data") for reason in found.reasons)
    below = -(other.weights.square() / model.weights).sum().log().item()
    assert found.reverse[1] - model.log_z == pytest.approx(below, abs=0.5)


def test_an_error_bar_above_a_nat_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of eight is 6 nats off: the gap of log((7 + e^6)/8) = 3.9 is in the error, and too large."""
    target = Gaussian(8)
    data = target.sample(2000, stream("scatter"))
    scattered = torch.full((2, 8), -target.log_z, dtype=torch.float64)
    scattered[:, 0] += 6
    monkeypatch.setattr("ebmark.estimate.reverse", lambda *_: scattered)
    found = smc(Energy(target), data, stream("scatter"), max_gradients=100_000, samples=1)
    assert found.se == pytest.approx(0.5 * math.log((7 + math.exp(6)) / 8), abs=0.05)
    assert [reason.partition(" is ")[0] for reason in found.reasons] == ["the standard error"]
