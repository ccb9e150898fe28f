"""The targets with a story of their own: listed values, laws of parts, and what they do at d = 128."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ebmark.api import Dataset
from ebmark.datasets.banana import Banana
from ebmark.datasets.checkerboard import Checkerboard
from ebmark.datasets.funnel import Funnel
from ebmark.datasets.gaussian_pairs import GaussianPairs
from ebmark.datasets.many_well import ManyWell
from ebmark.datasets.moons import Moons
from ebmark.datasets.pinwheel import Pinwheel
from ebmark.datasets.random_flow import RandomFlow
from ebmark.datasets.rings import Rings
from ebmark.datasets.shell import Shell
from ebmark.datasets.spirals import Spirals
from ebmark.datasets.student import Student
from ebmark.datasets.swiss_roll import SwissRoll
from ebmark.errors import SpecError
from tests.test_datasets import assert_mean, stream

PLANE = [Moons(), Moons(sd=0.3), Spirals(sd=0.2), SwissRoll(sd=0.2), Rings(), Rings(sd=1.0), Pinwheel()]
HIGH = [GaussianPairs(dim=128), ManyWell(dim=128), Shell(dim=128), Banana(dim=128)]
HIGH += [Student(dim=128), Funnel(dim=128), RandomFlow(dim=128)]


# ----------------------------------------------------------------------------------------------- every target


@pytest.mark.parametrize("target", HIGH, ids=repr)
def test_float32_at_128_dimensions_agrees_with_float64(target: Dataset):
    x = target.sample(400, stream("high", dtype=torch.float32))
    assert target.log_prob(x).double().numpy() == pytest.approx(target.log_prob(x.double()).numpy(), rel=1e-4)
    low, high = target.score(x).double(), target.score(x.double())
    assert ((low - high).norm(dim=-1) <= 1e-4 * high.norm(dim=-1) + 1e-4).all()


@pytest.mark.parametrize("target", HIGH, ids=repr)
def test_entropy_and_score_at_128_dimensions(target: Dataset):
    x = target.sample(5000, stream("high")).requires_grad_()
    log_p = target.log_prob(x)
    assert_mean(-log_p.detach(), target.entropy)
    (gradient,) = torch.autograd.grad(log_p.sum(), x)
    torch.testing.assert_close(target.score(x), gradient, rtol=1e-8, atol=1e-8)


def test_heavy_tails_integrate_to_one():
    """In coordinates that draw the tails in: x = sinh t, and x = e^(v/2) s for the funnel."""
    t = torch.linspace(-14, 14, 1001, dtype=torch.float64)
    step = t[1] - t[0]
    lattice = torch.cartesian_prod(t, t)
    for df in (1, 3):
        mass = (Student(df=df).log_prob(lattice.sinh()).exp() * lattice.cosh().prod(-1)).sum() * step**2
        assert mass.item() == pytest.approx(1, abs=3e-6)
    v, s = (3 * lattice[:, 0], lattice[:, 1])
    x = torch.stack([v, (v / 2).exp() * s], -1)
    mass = (Funnel(dim=2).log_prob(x) + v / 2).exp().sum() * 3 * step**2
    assert mass.item() == pytest.approx(1, abs=1e-9)


# --------------------------------------------------------------------------------------------- gaussian_pairs


@pytest.mark.parametrize(("d", "mi"), [(40, 10), (80, 20), (160, 40), (320, 80)])
def test_gaussian_pairs_have_the_published_information(d, mi):
    target = GaussianPairs(dim=d)
    assert target.information == mi
    rho = target.rho
    assert -d / 4 * math.log(1 - rho**2) == pytest.approx(mi, rel=1e-12)
    pair = np.array([[1, rho], [rho, 1]])
    x = target.sample(100, stream("pairs"))
    blocks = stats.multivariate_normal(cov=pair).logpdf(x.reshape(100, -1, 2).numpy()).sum(-1)
    np.testing.assert_allclose(target.log_prob(x), blocks, rtol=1e-10)


def test_gaussian_pairs_are_as_far_from_independence_as_declared():
    target = GaussianPairs(dim=40)
    x = target.sample(20_000, stream("ratio"))
    independent = -0.5 * x.square().sum(-1) - 20 * math.log(2 * math.pi)
    assert_mean(target.log_prob(x) - independent, 10.0)


# -------------------------------------------------------------------------------------------------- many_well


@pytest.mark.parametrize("d", [1, 2, 3, 128])
def test_many_well_log_z(d):
    wells = (d + 1) // 2
    expected = wells * 9.374541 + (d - wells) * 0.5 * math.log(2 * math.pi)
    assert ManyWell(dim=d).log_z == pytest.approx(expected, abs=1e-6 * wells)


def test_many_well_samples_follow_the_law_of_a_well():
    grid = np.linspace(-3.3, 3.3, 40_001)
    p = np.exp(-(grid**4) + 6 * grid**2 + grid / 2)
    cdf = integrate.cumulative_trapezoid(p, grid, initial=0)
    x = ManyWell(dim=3).sample(30_000, stream("well"))
    for i in (0, 2):
        found = stats.kstest(x[:, i].numpy(), lambda t: np.interp(t, grid, cdf / cdf[-1]))
        assert found.pvalue > 1e-3
    assert stats.kstest(x[:, 1].numpy(), stats.norm.cdf).pvalue > 1e-3
    assert_mean((x[:, 0] > 0).double(), 0.8443)


# ------------------------------------------------------------------------------------------------------ shell


@pytest.mark.parametrize(("d", "log_z"), [(2, 2.939137), (8, 13.013970), (32, 36.070405), (128, 77.889663)])
def test_shell_log_z(d, log_z):
    assert Shell(dim=d).log_z == pytest.approx(log_z, abs=1e-6)


@pytest.mark.parametrize("target", [Shell(dim=3), Shell(dim=2, radius=0.1, sd=2.0), Shell(dim=128)], ids=repr)
def test_shell_radius_follows_its_law(target):
    grid = np.linspace(0, target.radius + (14 + math.sqrt(target.dim)) * target.sd, 40_001)[1:]
    log_p = (target.dim - 1) * np.log(grid) - ((grid - target.radius) / target.sd) ** 2 / 2
    cdf = integrate.cumulative_trapezoid(np.exp(log_p - log_p.max()), grid, initial=0)
    r = target.sample(20_000, stream("radius")).norm(dim=-1).numpy()
    assert stats.kstest(r, lambda t: np.interp(t, grid, cdf / cdf[-1])).pvalue > 1e-3


def test_shell_is_defined_at_its_centre():
    x = torch.zeros(1, 3, dtype=torch.float32)
    assert Shell(dim=3).score(x).tolist() == [[0.0, 0.0, 0.0]]
    assert Shell(dim=3).log_prob(x).item() == pytest.approx(-((4 / 0.3) ** 2) / 2 - Shell(dim=3).log_z)


# ------------------------------------------------------------------------------------ funnel, student, banana


def test_funnel_straightens_into_independent_normals():
    x = Funnel(dim=4).sample(20_000, stream("funnel"))
    z = torch.cat([x[:, :1] / 3, x[:, 1:] * (-x[:, :1] / 2).exp()], -1)
    for i in range(4):
        assert stats.kstest(z[:, i].numpy(), stats.norm.cdf).pvalue > 1e-3
    assert_mean(z[:, :, None] * z[:, None, :], torch.eye(4, dtype=torch.float64))
    scale = (x[:, :1] / 2).exp().numpy()
    expected = stats.norm.logpdf(x[:, 0], scale=3) + stats.norm.logpdf(x[:, 1:], scale=scale).sum(-1)
    np.testing.assert_allclose(Funnel(dim=4).log_prob(x), expected, rtol=1e-10)
    assert Funnel().entropy == pytest.approx(5 * math.log(2 * math.pi * math.e) + math.log(3))


@pytest.mark.parametrize("target", [Student(), Student(dim=5, df=1), Student(dim=3, df=40)], ids=repr)
def test_student_is_the_multivariate_t(target):
    x = 1.5 * target.sample(20_000, stream("student"))
    law = stats.multivariate_t(shape=np.eye(target.dim), df=target.df)
    np.testing.assert_allclose(target.log_prob(x[:200]), law.logpdf(x[:200].numpy()), rtol=1e-9)
    squares = (x / 1.5).square().mean(-1).numpy()
    assert stats.kstest(squares, stats.f(target.dim, target.df).cdf).pvalue > 1e-3
    assert target.entropy == pytest.approx(law.entropy(), rel=1e-9)


def test_banana_straightens_into_a_gaussian():
    x = Banana(dim=3).sample(20_000, stream("banana"))
    straight = torch.stack([x[:, 0] / 2, x[:, 1] - (x[:, 0].square() - 4) / 2, x[:, 2] / 2], -1)
    for i in range(3):
        assert stats.kstest(straight[:, i].numpy(), stats.norm.cdf).pvalue > 1e-3
    assert_mean(straight[:, 0] * straight[:, 1], 0.0)


# ------------------------------------------------------------------------------------------------ random_flow


def test_random_flow_preserves_volume_and_is_no_gaussian():
    target = RandomFlow(dim=4)
    x = target.sample(20_000, stream("flow"))
    centred = (x - x.mean(0)) / x.std(0)
    kurtosis = (centred**4).mean(0) - 3
    assert kurtosis.abs().max() > 0.3  # a Gaussian's is 0 within 0.07
    gaussian = 0.5 * torch.logdet(2 * math.pi * math.e * torch.cov(x.mT)).item()
    assert target.entropy == pytest.approx(2 * math.log(2 * math.pi * math.e))
    assert gaussian - target.entropy > 0.3  # nats that the best Gaussian misses


def test_random_flow_without_strength_is_the_standard_normal():
    target = RandomFlow(dim=3, strength=0.0)
    x = target.sample(100, stream("flat"))
    expected = stats.multivariate_normal(cov=np.eye(3)).logpdf(x.numpy())
    np.testing.assert_allclose(target.log_prob(x), expected, rtol=1e-10)


# -------------------------------------------------------------------------------------------------- the plane


@pytest.mark.parametrize("target", PLANE, ids=repr)
def test_plane_score_is_the_gradient_of_the_log_density(target):
    x = target.sample(100, stream("plane")).reshape(2, 50, 2)
    x = (1.3 * x).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x).sum(), x)
    assert target.log_prob(x).shape == (2, 50)
    torch.testing.assert_close(target.score(x), gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("target", PLANE, ids=repr)
def test_plane_samples_are_those_of_the_density(target):
    """Mass 1, E[-log p] the entropy, E[s] = 0 and E[x s'] = -I over samples that never see the density."""
    x = target.sample(10_000, stream("plane"))
    assert_mean(-target.log_prob(x), target.entropy)
    s = target.score(x)
    assert_mean(s, 0.0)
    assert_mean(x[:, :, None] * s[:, None, :], -torch.eye(2, dtype=torch.float64))
    edge = x.abs().max().item() + 5 * getattr(target, "sd", 0.3)
    axis = torch.arange(-edge, edge, 0.06, dtype=torch.float64)
    mass = target.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("target", [Moons(sd=0.3), SwissRoll(sd=0.2), Rings(), Pinwheel()], ids=repr)
def test_plane_samples_fall_into_boxes_as_the_density_says(target):
    """A χ² test of 30,000 points in 144 boxes; the mass of each by 30 x 30 Gauss-Legendre points."""
    x = target.sample(30_000, stream("boxes"))
    edges = torch.linspace(-5, 5, 13, dtype=torch.float64)
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(30))
    places = (edges[:-1, None] + (edges[1] - edges[0]) / 2 * (1 + nodes)).flatten()
    p = target.log_prob(torch.cartesian_prod(places, places)).exp().reshape(12, 30, 12, 30)
    mass = torch.einsum("iajb,a,b->ij", p, weights, weights) * ((edges[1] - edges[0]) / 2) ** 2
    seen = torch.histogramdd(x, bins=[edges, edges])[0]
    expected = len(x) * mass.flatten().numpy()
    observed = seen.flatten().numpy()
    large = expected > 8
    observed, expected = (np.append(n[large], len(x) - n[large].sum()) for n in (observed, expected))
    assert ((observed - expected) ** 2 / (expected + 1)).sum() < stats.chi2.ppf(0.999, large.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [*PLANE, Checkerboard()], ids=repr)
def test_plane_follows_stream_and_dtype(target, dtype):
    x = target.sample(64, stream("same", dtype=dtype))
    assert x.dtype == target.log_prob(x).dtype == target.score(x).dtype == dtype
    assert torch.equal(x, target.sample(64, stream("same", dtype=dtype)))
    assert target.log_prob(x).double().numpy() == pytest.approx(
        target.log_prob(x.double()).numpy(), rel=1e-4, abs=1e-3
    )


def test_moons_lie_on_the_published_arcs():
    x = Moons(sd=0.02).sample(5000, stream("arcs"))
    upper, lower = x.norm(dim=-1) - 1, (x - torch.tensor([1.0, 0.5])).norm(dim=-1) - 1
    distance = torch.minimum(upper.abs(), lower.abs())
    assert distance.max() < 0.1
    assert_mean((upper.abs() < lower.abs()).double(), 0.5)


def test_spirals_are_evenly_spread_over_the_disc():
    x = Spirals(sd=0.02).sample(1000, stream("spread"))
    assert stats.kstest((x.square().sum(-1) / math.pi**2).numpy(), "uniform").pvalue > 1e-3
    turned = torch.atan2(x[:, 1], -x[:, 0]) - 3 * x.norm(dim=-1)  # 0 on one arm, π on the other
    assert_mean((turned.cos() > 0).double(), 0.5)
    assert (turned.cos().abs() > 0.9).double().mean() > 0.95


def test_rings_tend_to_one_gaussian_where_the_noise_is_wide():
    target = Rings(sd=10.0)
    variance = 100 + (0.75**2 + 1.5**2 + 2.25**2 + 3**2) / 8
    assert target.entropy == pytest.approx(math.log(2 * math.pi * math.e * variance), abs=1e-4)


def test_checkerboard_is_flat_on_eight_squares():
    target = Checkerboard()
    assert not target.smooth
    x = target.sample(40_000, stream("board", dtype=torch.float32))
    assert torch.equal(target.log_prob(x), torch.full((40_000,), -math.log(32)))
    assert torch.equal(target.score(x), torch.zeros_like(x))
    squares = (x / 2).floor().long() + 2
    counts = torch.bincount(4 * squares[:, 0] + squares[:, 1], minlength=16).double()
    assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3
    assert (counts > 0).sum() == 8
    for i in range(2):
        assert stats.kstest((x[:, i] / 2 % 1).numpy(), "uniform").pvalue > 1e-3
    axis = torch.arange(-5.95, 6, 0.1, dtype=torch.float64)
    mass = target.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.01
    assert mass.item() == pytest.approx(1, rel=1e-9)
    assert target.entropy == pytest.approx(math.log(32))


# ------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (GaussianPairs, {"dim": 3}, "gaussian_pairs.dim: 3 given; allowed: an even number of at least 2"),
        (GaussianPairs, {"mi": 81}, "gaussian_pairs.mi: 81 given; allowed: a number from 0 to 2 dim"),
        (ManyWell, {"dim": 0}, "many_well.dim: 0 given; allowed: an integer of at least 1"),
        (Shell, {"dim": True}, "shell.dim: True given; allowed: an integer of at least 1"),
        (Shell, {"radius": 0}, "shell.radius: 0 given; allowed: a finite positive number"),
        (Shell, {"sd": math.inf}, "shell.sd: inf given; allowed: a finite positive number"),
        (Funnel, {"dim": 1}, "funnel.dim: 1 given; allowed: an integer of at least 2"),
        (Funnel, {"sd": 6.0}, "funnel.sd: 6.0 given; allowed: a positive number up to 5"),
        (Banana, {"dim": 1}, "banana.dim: 1 given; allowed: an integer of at least 2"),
        (Banana, {"sd": 0.0}, "banana.sd: 0.0 given; allowed: a finite positive number"),
        (Banana, {"bend": -1.0}, "banana.bend: -1.0 given; allowed: a finite number of at least 0"),
        (Student, {"dim": 0}, "student.dim: 0 given; allowed: an integer of at least 1"),
        (Student, {"df": 2.5}, "student.df: 2.5 given; allowed: an integer from 1 to 1000"),
        (RandomFlow, {"dim": 1}, "random_flow.dim: 1 given; allowed: an integer of at least 2"),
        (RandomFlow, {"layers": 0}, "random_flow.layers: 0 given; allowed: an integer from 1 to 32"),
        (Moons, {"sd": 0.001}, "moons.sd: 0.001 given; allowed: a number from 0.02 to 10"),
        (Rings, {"sd": True}, "rings.sd: True given; allowed: a number from 0.01 to 10"),
        (RandomFlow, {"strength": 11}, "random_flow.strength: 11 given; allowed: a number from 0 to 10"),
    ],
)
def test_settings_out_of_range_are_one_line(cls, settings, message):
    with pytest.raises(SpecError) as error:
        cls(**settings)
    assert str(error.value) == message
