"""log Z against closed forms, by quadrature and by sequential Monte Carlo."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Energy
from ebmark.base import fit_base
from ebmark.normaliser import LogZ, log_z, smc
from ebmark.quadrature import integrate
from ebmark.reverse import log_mean
from ebmark.smc import Schedule, systematic
from tests.densities import Formula, Gaussian, ManyWell, Mixed, Ring, Target, stream


class Shifted(nn.Module):
    """An energy plus a constant."""

    def __init__(self, energy: nn.Module, by: float) -> None:
        super().__init__()
        self.energy, self.by = energy, by

    def forward(self, x: Tensor) -> Tensor:
        return self.energy(x) + self.by


# ---------------------------------------------------------------------------------------------- quadrature


@pytest.mark.parametrize("target", [Gaussian(2), Ring(2), Mixed(2), ManyWell(2)], ids=type)
def test_quadrature_is_exact_in_2d(target: Target) -> None:
    found = log_z(Energy(target), target.sample(2000, stream("data")), stream())
    assert found.value == pytest.approx(target.log_z, abs=1e-10)
    assert (found.method, found.trusted, found.reasons, found.samples) == ("quadrature", True, (), None)
    assert found.lo <= target.log_z + 1e-10
    assert found.hi >= target.log_z - 1e-10


@pytest.mark.parametrize(("d", "tolerance"), [(1, 1e-10), (3, 1e-6)])
def test_quadrature_in_other_dimensions(d: int, tolerance: float) -> None:
    target = Gaussian(d, condition=4.0)
    found = log_z(Energy(target), target.sample(2000, stream("data")), stream())
    assert found.value == pytest.approx(target.log_z, abs=tolerance)
    assert found.trusted


def test_quadrature_of_a_float32_network_is_limited_by_the_network_only() -> None:
    target = Ring(2)
    data = target.sample(2000, stream("data"))
    assert integrate(Energy(target.float()), data).value == pytest.approx(target.log_z, abs=1e-5)


def test_the_box_grows_to_hold_the_mass() -> None:
    """A model ten times as wide as the data: the first box of four deviations holds a third of an axis."""
    data = stream("data").normal((2000, 2))
    wide = Formula(lambda x: x.square().sum(-1) / 200)
    integral = integrate(Energy(wide), data)
    assert integral.value == pytest.approx(math.log(2 * math.pi * 100), abs=1e-8)
    assert integral.edge <= 1e-12
    assert integral.reasons == ()


def test_mass_at_the_edge_is_flagged() -> None:
    """Cauchy tails never leave the edge of any box with less than 1e-8 of the mass."""
    heavy = Formula(lambda x: x.square().log1p().sum(-1))
    found = log_z(Energy(heavy), stream("data").normal((2000, 1)), stream())
    assert not found.trusted
    assert found.reasons[0].startswith("a share ")


def test_a_spike_between_the_points_is_flagged() -> None:
    """A mode far narrower than the lattice changes the value when half the points go."""
    spike = Formula(lambda x: (x - 0.01).square().sum(-1) / (2 * 0.01**2))
    found = log_z(Energy(spike), 2 * stream("data").normal((2000, 2)), stream())
    assert not found.trusted
    assert found.reasons[0].startswith("half the points ")
    assert found.lo < found.value < found.hi


@pytest.mark.parametrize("d", [2, 4])
def test_a_constant_beyond_single_precision_is_not_trusted(d: int) -> None:
    """At 1e7 energies are whole numbers: the error is systematic, and no number of points shows it."""
    target = Gaussian(d, condition=4.0)
    for shift, dtype, trusted in (
        (1e7, torch.float32, False),
        (1e7, torch.float64, True),
        (99.0, torch.float32, True),
    ):
        moved = Shifted(target, shift).to(dtype)
        found = log_z(Energy(moved), target.sample(2000, stream("data")).to(dtype), stream(), samples=1)
        assert found.trusted == trusted, found.reasons
        assert any("rounded" in reason for reason in found.reasons) != trusted


def test_quadrature_refuses_four_dimensions() -> None:
    with pytest.raises(ValueError, match="d <= 3, got d = 4"):
        integrate(Energy(Gaussian(4)), torch.zeros(10, 4))


# ---------------------------------------------------------------------------------------------------- smc


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "target",
    [Ring(2), ManyWell(2), Gaussian(10), Ring(10), Mixed(10)],
    ids=["ring-2", "many-well-2", "gaussian-10", "ring-10", "ica-10"],
)
def test_smc_finds_log_z(target: Target, seed: int) -> None:
    data = target.sample(5000, stream("data", seed))
    found = smc(Energy(target), data, stream("smc", seed))
    error = abs(found.value - target.log_z)
    assert error <= 0.15
    assert error <= 3.5 * max(found.se, 0.02)
    assert found.trusted, found.reasons
    assert found.method == "smc"


def test_each_run_is_unbiased() -> None:
    """Over 64 results the mean of Z/Z_true is 1 within four standard errors; claimed errors are real."""
    target = Ring(2)
    data = target.sample(500, stream("data"))
    found = [smc(Energy(target), data, stream("unbiased", i), samples=1, check=False) for i in range(64)]
    ratio = torch.tensor([math.exp(one.value - target.log_z) for one in found], dtype=torch.float64)
    assert abs(ratio.mean().item() - 1) < 4 * ratio.std().item() / 8
    claimed = math.sqrt(sum(one.se**2 for one in found) / 64)
    # The sample variance of 64 values is within a factor 2 of its mean (chi-squared, 63 degrees: 5.7 sd).
    assert 0.5 < (ratio.std().item() / claimed) ** 2 < 2


def test_samples_have_the_models_weights_and_widths() -> None:
    """Counts per mode and the spread inside a mode are the model's, although the data have other weights."""
    model = Ring(4)
    other = Ring(4)
    other.weights = other.weights.flip(0)
    found = smc(Energy(model), other.sample(5000, stream("data")), stream("weights"), samples=1000)
    x = found.samples
    assert x is not None
    assert x.shape == (1000, 4)
    which = model.component(x)
    share = torch.bincount(which, minlength=8) / 1000
    # Resampled particles are worth fewer points than they number; 1024 / 3 at worst here.
    se = (model.weights * (1 - model.weights) / 340).sqrt()
    assert ((share - model.weights).abs() < 4 * se).all()
    inside = (x - model.means[which]).var().item()
    assert inside == pytest.approx(model.sd**2, rel=4 * math.sqrt(2 / (4 * 340)))


def test_samples_follow_from_the_stream_and_leave_the_meter_alone() -> None:
    target = Gaussian(4).float()
    data = target.sample(1000, stream("data")).float()
    energy = Energy(target)
    first, second = (smc(energy, data, stream("same"), samples=50) for _ in range(2))
    assert first.value == second.value
    assert torch.equal(first.samples, second.samples)
    assert first.samples.dtype == torch.float32
    assert energy.meter.passes.total == 0
    assert first.gradients > 0


def test_a_float64_stream_serves_a_float32_network() -> None:
    target = Gaussian(5)
    data = target.sample(2000, stream("data"))
    found = smc(Energy(target.float()), data.float(), stream("float32"))
    assert abs(found.value - target.log_z) <= 3.5 * max(found.se, 0.02)


def test_the_cap_is_kept_and_flagged() -> None:
    """Data far from the model need a long path; the cap cuts it and says so."""
    model = Gaussian(16)
    data = 0.2 * stream("far").normal((2000, 16)) + 3
    for cap in (80_000, 160_000):
        found = smc(Energy(model), data, stream("cap"), max_gradients=cap)
        assert found.gradients <= cap
        assert not found.trusted
        assert found.reasons[0].startswith(f"the cap of {cap} gradients leaves only ")
    with pytest.raises(ValueError, match="max_gradients = 1000: 1024 samples need at least"):
        smc(Energy(model), data, stream("cap"), max_gradients=1000)


def test_runs_that_disagree_are_flagged() -> None:
    """One temperature from data thirty deviations away: every run is a different accident."""
    model = Gaussian(16)
    found = smc(Energy(model), stream("far").normal((2000, 16)) + 30, stream("cap"), max_gradients=80_000)
    assert found.reasons[1].startswith("log Z varies between runs by sd = ")


def test_a_model_wider_than_the_data() -> None:
    """Trajectories grow with the particles: data of a fifth of the model's deviation still find it."""
    model = Gaussian(5)
    data = 0.2 * model.sample(2000, stream("narrow"))
    found = smc(Energy(model), data, stream("wide"), max_gradients=600_000)
    assert found.trusted, found.reasons
    assert abs(found.value - model.log_z) <= 3.5 * max(found.se, 0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("d", [2, 5])
def test_an_energy_that_is_not_finite_has_no_log_z(d: int, bad: float) -> None:
    broken = Formula(lambda x: torch.where(x[..., 0] > 1, bad, 0.5 * x.square().sum(-1)))
    data = stream("data").normal((1000, d))
    for found in (log_z(Energy(broken), data, stream()), smc(Energy(broken), data, stream())):
        assert math.isnan(found.value)
        assert math.isnan(found.lo)
        assert math.isnan(found.hi)
        assert not found.trusted
        assert found.samples is None
        assert found.reasons[-1].startswith("the energy is not finite at ")


def test_an_energy_without_a_lower_bound_is_not_trusted() -> None:
    """exp(x^4) has no integral: particles run away."""
    runaway = Formula(lambda x: -x.pow(4).sum(-1))
    found = smc(Energy(runaway), stream("data").normal((1000, 5)), stream())
    assert found.reasons


def test_other_reasons() -> None:
    target = Gaussian(10)
    energy, few = Energy(target), target.sample(15, stream("few"))
    found = smc(energy, few, stream(), samples=1)
    assert "the base is fitted to n = 15 points, fewer than 2 d = 20" in found.reasons
    many = target.sample(1000, stream("many"))
    for one in (smc(energy, many, stream(), improper=True), log_z(energy, many, stream(), improper=True)):
        assert one.reasons == ("the network has no Gaussian term, so Z may be infinite",)
        assert not one.trusted
    plane = Gaussian(2)
    found = log_z(Energy(plane), plane.sample(500, stream("plane")), stream(), improper=True)
    assert found.reasons == ("the network has no Gaussian term, so Z may be infinite",)


# ------------------------------------------------------------------------------------------------ the parts


@pytest.mark.parametrize(
    ("n", "d", "k"), [(2000, 3, 8), (300, 10, 3), (400, 30, 1), (150, 30, 7), (15, 10, 1)]
)
def test_the_base_is_a_density_of_its_own_samples(n: int, d: int, k: int) -> None:
    """E_q[p/q] = 1 for the base's covering Gaussian p, and its size follows the data's."""
    data = 3 + torch.linspace(0.1, 10, d, dtype=torch.float64) * stream(n, d).normal((n, d))
    base = fit_base(data, stream("base"))
    assert len(base.weights) == k
    assert base.weights.sum().item() == pytest.approx(1)
    torch.testing.assert_close(base.inverses @ base.trils, torch.eye(d, dtype=torch.float64).expand(k, d, d))
    components = torch.distributions.MultivariateNormal(base.means, scale_tril=base.trils)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(base.weights), components)
    z = base.sample((4000,), stream("z"))
    torch.testing.assert_close(base.log_prob(z), mixture.log_prob(z))
    x = base.to_data(z)
    assert ((x.mean(0) - mixture_mean(base)).abs() < 4.5 * x.std(0) / math.sqrt(4000)).all()


def test_each_component_of_the_base_has_its_share_of_every_row() -> None:
    base = fit_base(Ring(3).sample(2000, stream("data")), stream("base"))
    far = replace(base, means=1e3 * torch.arange(8.0, dtype=torch.float64)[:, None].expand(8, 3))
    z = far.sample((4, 200), stream("z"))
    counts = torch.stack([((z[..., 0] / 1e3).round() == k).sum(-1) for k in range(8)], -1)
    assert (counts - 200 * base.weights).abs().max() <= 1 + 1e-9


@pytest.mark.parametrize(("modes", "k"), [(8, 8), (2, 2), (1, 1)])
def test_the_base_finds_modes_that_lie_apart_above_twenty_dimensions(modes: int, k: int) -> None:
    """With the covariance within them, not that of all data."""
    d, apart = 30, 8.0
    centres = apart * torch.eye(d, dtype=torch.float64)[:modes]
    data = centres[torch.arange(1200) % modes] + stream("data").normal((1200, d))
    base = fit_base(data, stream("base"))
    assert len(base.weights) == k
    assert base.weights.tolist() == pytest.approx(k * [1 / k], abs=0.01)
    # A coordinate's variance is 1, widened by 1.2 and known to √(2/1200) from 1200 points.
    spread = (base.scale @ base.trils[0] @ base.trils[0].mT @ base.scale.mT).diagonal()
    assert spread.tolist() == pytest.approx(d * [1.2], rel=5 * math.sqrt(2 / 1200))


def test_the_weights_of_modes_are_those_of_as_many_independent_samples() -> None:
    """Squared errors over seeds and modes against w (1 - w)/n; components left to chance gave 2.9 of it."""
    target = registry.make(registry.ref("dataset", "mixture", dim=10, layout="random", ratio=0.8))
    model, found = Formula(lambda x: -target.log_prob(x)), []
    for seed in range(8):
        data = target.sample(10_000, stream("weights", seed))
        x = smc(Energy(model), data, stream("z", seed), samples=2000, check=False).samples
        found.append(target.components(x).mean(0))
    errors = (torch.stack(found) - target.weights).square()
    ratio = (errors / (target.weights * (1 - target.weights) / 2000)).mean().item()
    assert ratio < 1.6


def mixture_mean(base: object) -> Tensor:
    return base.to_data(base.weights @ base.means)


def test_the_whitened_components_have_unit_covariance() -> None:
    data = Ring(5).sample(4000, stream("data"))
    base = fit_base(data, stream("base"))
    average = (base.weights[:, None, None] * base.trils @ base.trils.mT).sum(0)
    torch.testing.assert_close(average, 1.2 * torch.eye(5, dtype=torch.float64))


def test_jackknife_against_the_formula() -> None:
    """For runs that differ little the error of log mean Z is the standard error of the mean of log Z."""
    values = 5 + 1e-4 * stream("runs").normal((8,))
    value, se = log_mean(values)
    assert value == pytest.approx(values.exp().mean().log().item(), abs=1e-12)
    assert se == pytest.approx(values.std().item() / math.sqrt(8), rel=1e-3)


def test_systematic_resampling_counts() -> None:
    w = stream("weights").uniform((6, 50))
    w = w / w.sum(-1, keepdim=True)
    index = systematic(w, 400, stream("u"))
    counts = torch.nn.functional.one_hot(index, 50).sum(-2)
    assert index.shape == (6, 400)
    assert ((counts - 400 * w).abs() <= 1 + 1e-9).all()
    certain = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert (systematic(certain, 7, stream("u")) == 1).all()


def test_thinning_keeps_the_ends() -> None:
    betas = tuple(i / 10 for i in range(1, 11))
    schedule = Schedule(betas=betas, steps=betas)
    assert schedule.thin(10) is schedule
    assert schedule.thin(5) == Schedule(betas=betas[1::2], steps=betas[1::2], complete=False)
    assert schedule.thin(1).betas == (1.0,)


def test_a_result_as_a_value() -> None:
    found = LogZ(
        value=1.0,
        se=0.1,
        lo=0.8,
        hi=1.2,
        trusted=False,
        reasons=("a", "b"),
        samples=None,
        gradients=0,
        seconds=0,
        method="smc",
    )
    value = found.as_value()
    assert (value.value, value.se, value.lo, value.hi) == (1.0, 0.1, 0.8, 1.2)
    assert (value.trusted, value.reasons) == (False, "a; b")
    assert replace(found, trusted=True, reasons=()).as_value().trusted
