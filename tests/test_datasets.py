"""The targets: densities, scores, samples and entropies against closed forms and independent quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from sklearn.datasets import load_digits
from torch import Tensor, distributions

from ebmark.api import Dataset, Rng
from ebmark.datasets.banana import Banana
from ebmark.datasets.bimodal_product import BimodalProduct
from ebmark.datasets.digits import Digits
from ebmark.datasets.funnel import Funnel
from ebmark.datasets.gaussian import Gaussian
from ebmark.datasets.gaussian_pairs import GaussianPairs
from ebmark.datasets.ica import ICA
from ebmark.datasets.many_well import ManyWell
from ebmark.datasets.mixture import EightGaussians, Mixture, RoundMixture
from ebmark.datasets.phi4 import Phi4
from ebmark.datasets.random_flow import RandomFlow
from ebmark.datasets.shell import Shell
from ebmark.datasets.student import Student
from ebmark.datasets.two_modes import TwoModes
from ebmark.errors import SpecError

GAUSSIANS = [
    Gaussian(dim=1, condition=9),
    Gaussian(),
    Gaussian(condition=100.0),
    Gaussian(dim=5, condition=30.0),
]
MIXTURES = [
    EightGaussians(),
    Mixture(modes=5, ratio=0.6),
    Mixture(modes=9, layout="grid", sd=0.8, ratio=0.9),
    Mixture(modes=3, dim=1, layout="random", sd=0.5),
    Mixture(modes=4, dim=6, layout="random", radius=3.0, sd=0.7, ratio=2.0),
]
TWO_MODES = [TwoModes(dim=1, m=0.0), TwoModes(), TwoModes(m=5.0), TwoModes(dim=7, m=1.5, weight=0.2)]
CHAINS = [Phi4(dim=1), Phi4(dim=2), Phi4(), Phi4(dim=3, m2=1.0, lam=0.1), Phi4(dim=2, m2=-20.0, lam=0.05)]
COMPONENTS = [ICA(dim=1), ICA(), ICA(dim=6)]
BIMODALS = [BimodalProduct(dim=1, m=0.0, sd=2.0), BimodalProduct(), BimodalProduct(dim=5, m=1.5, sd=0.5)]
PAIRS = [GaussianPairs(dim=2, mi=0.7), GaussianPairs(dim=8, mi=12.0)]
WELLS = [ManyWell(dim=1), ManyWell(), ManyWell(dim=5)]
SHELLS = [Shell(dim=1), Shell(), Shell(dim=2, radius=0.4, sd=1.0), Shell(dim=6)]
BENT = [Banana(), Banana(dim=5, sd=1.5, bend=0.3), RandomFlow(), RandomFlow(dim=6, layers=2)]
HEAVY = [Student(dim=1, df=12), Student(df=12), Student(dim=4, df=20), Funnel(dim=2, sd=0.6), Funnel(dim=5)]
SERIES = [*PAIRS, *WELLS, *SHELLS, *BENT, *HEAVY]
TARGETS: list[Dataset] = [*GAUSSIANS, *MIXTURES, *TWO_MODES, *CHAINS, *COMPONENTS, *BIMODALS, *SERIES]


def stream(*key: object, dtype: torch.dtype = torch.float64) -> Rng:
    return Rng.of("test_datasets", *key, dtype=dtype)


def assert_mean(values: Tensor, expected: Tensor | float) -> None:
    """The mean over the first axis lies within four standard errors of what is expected."""
    error = (values.mean(0) - expected).abs()
    assert (error <= 4 * values.std(0) / math.sqrt(len(values)) + 1e-12).all(), error


def reference_chain(target: Phi4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Marginals ``(d, G)``, E[x x'] ``(d, d)`` and the grid, by powers of the symmetric transfer matrix."""
    x = np.linspace(-1, 1, 701) * (13 if target.m2 < -10 else 6)
    V = target.m2 / 2 * x**2 + target.lam * x**4
    half = np.exp(-(V - V.min()) / 2)
    T = half[:, None] * np.exp(-((x[:, None] - x) ** 2) / 2) * half
    T /= np.linalg.norm(T, 2)
    power = [np.linalg.matrix_power(T, k) for k in range(target.dim)]
    weight = [p @ half for p in power]
    norm = weight[-1] @ half
    marginals = np.stack([weight[i] * weight[target.dim - 1 - i] for i in range(target.dim)])
    second = np.diag((marginals * x**2).sum(-1))
    for i in range(target.dim):
        for j in range(i + 1, target.dim):
            second[i, j] = second[j, i] = (weight[i] * x) @ power[j - i] @ (weight[target.dim - 1 - j] * x)
    return marginals / norm, second / norm, x


def well_moment(k: int) -> float:
    """E[t^k] in a well of many_well."""
    return integrate.quad(lambda t: t**k * math.exp(-(t**4) + 6 * t**2 + t / 2 - 9.374541174), -4, 4)[0]


def series_moments(target: Dataset) -> tuple[Tensor, Tensor] | None:
    """The same of the targets of SERIES; None where they are unknown, or out of a sample's reach."""
    d = target.dim
    zero, second = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    match target:
        case GaussianPairs():
            other = torch.arange(d) ^ 1
            second[torch.arange(d), other] = math.sqrt(1 - math.exp(-4 * target.mi / d))
            return zero, second
        case ManyWell():
            zero[0::2] = well_moment(1)
            second = torch.outer(zero, zero) + second
            second[range(0, d, 2), range(0, d, 2)] = well_moment(2)
            return zero, second
        case Shell():
            r = np.linspace(0, target.radius + 14 * target.sd, 100_001)
            w = r ** (d - 1) * np.exp(-(((r - target.radius) / target.sd) ** 2) / 2)
            return zero, second * (w @ r**2 / w.sum() / d)
        case Banana():
            second[range(0, d, 2), range(0, d, 2)] = target.sd**2
            second[range(1, d, 2), range(1, d, 2)] = 1 + 2 * target.bend**2 * target.sd**4
            return zero, second
        case Student():
            return zero, second * target.df / (target.df - 2)
        case Funnel(sd=0.6):
            second *= math.exp(0.5 * target.sd**2)
            second[0, 0] = target.sd**2
            return zero, second
    return None


def moments(target: Dataset) -> tuple[Tensor, Tensor] | None:
    """The exact E[x] ``(d,)`` and E[x x'] ``(d, d)``."""
    d = target.dim
    eye = torch.eye(d, dtype=torch.float64)
    match target:
        case Gaussian():
            return eye[0] * 0, target.covariance
        case RoundMixture():
            w, means = target.weights, target.means
            return w @ means, (w * means.mT) @ means + target.sd**2 * eye
        case TwoModes():
            u = torch.full((d,), d**-0.5, dtype=torch.float64)
            return (1 - 2 * target.weight) * target.m * u, eye + target.m**2 * torch.outer(u, u)
        case Phi4():
            return eye[0] * 0, torch.from_numpy(reference_chain(target)[1])
        case ICA():
            precision = target.unmixing @ target.unmixing.mT
            return eye[0] * 0, math.pi**2 / 3 * torch.linalg.inv(precision)
        case BimodalProduct():
            return eye[0] * 0, (target.m**2 + target.sd**2) * eye
    return series_moments(target)


def reference_density(target: Dataset) -> distributions.Distribution:
    """The law as torch.distributions builds it from weights, means and covariances."""
    eye = torch.eye(target.dim, dtype=torch.float64)
    match target:
        case Gaussian():
            return distributions.MultivariateNormal(0 * eye[0], target.covariance)
        case RoundMixture():
            weights, means, covariance = target.weights, target.means, target.sd**2 * eye
        case TwoModes():
            mean = torch.full((target.dim,), target.m / math.sqrt(target.dim), dtype=torch.float64)
            weights = torch.tensor([target.weight, 1 - target.weight], dtype=torch.float64)
            means, covariance = torch.stack([-mean, mean]), eye
        case _:
            raise AssertionError(target)
    return distributions.MixtureSameFamily(
        distributions.Categorical(weights), distributions.MultivariateNormal(means, covariance)
    )


# ----------------------------------------------------------------------------------------------- every target


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_score_is_the_gradient_of_the_log_density(target):
    x = target.sample(150, stream("score")).reshape(3, 50, target.dim)
    x = (1.3 * x).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x).sum(), x)
    assert target.log_prob(x).shape == (3, 50)
    torch.testing.assert_close(target.score(x), gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("target", [t for t in TARGETS if moments(t) is not None], ids=repr)
def test_samples_have_the_exact_moments(target):
    x = target.sample(40_000, stream("moments"))
    first, second = moments(target)
    assert_mean(x, first)
    assert_mean(x[:, :, None] * x[:, None, :], second)


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_samples_satisfy_steins_identity(target):
    x = target.sample(40_000, stream("stein"))
    s = target.score(x)
    assert_mean(s, 0.0)
    assert_mean(x[:, :, None] * s[:, None, :], -torch.eye(target.dim, dtype=torch.float64))


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_entropy_is_the_mean_negative_log_density(target):
    if target.entropy is None:
        assert isinstance(target, Mixture)
        assert target.dim > 2
        return
    x = target.sample(100_000, stream("entropy"))
    assert_mean(-target.log_prob(x), target.entropy)


@pytest.mark.parametrize("target", [t for t in TARGETS if t.dim == 2], ids=repr)
def test_density_integrates_to_one(target):
    edge = 2.5 * target.sample(1000, stream("box")).abs().max().item()
    axis = torch.linspace(-edge, edge, 601, dtype=torch.float64)
    mass = target.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("target", [*GAUSSIANS, *MIXTURES, *TWO_MODES], ids=repr)
def test_log_density_agrees_with_torch_distributions(target):
    x = 1.5 * target.sample(200, stream("reference"))
    expected = reference_density(target).log_prob(x)
    torch.testing.assert_close(target.log_prob(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [*TARGETS, Digits()], ids=repr)
def test_samples_follow_the_stream(target, dtype):
    x = target.sample(64, stream("same", dtype=dtype))
    assert x.shape == (64, target.dim)
    assert x.dtype == dtype
    assert torch.equal(x, target.sample(64, stream("same", dtype=dtype)))
    assert not torch.equal(x, target.sample(64, stream("other", dtype=dtype)))


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_density_and_score_follow_the_dtype_of_x(target):
    x = target.sample(500, stream("float32", dtype=torch.float32))
    for f in (target.log_prob, target.score):
        assert f(x).dtype == torch.float32
        torch.testing.assert_close(f(x).double(), f(x.double()), rtol=1e-4, atol=1e-3)


# --------------------------------------------------------------------------------------------- single targets


def test_gaussian_has_the_declared_spectrum_and_is_turned():
    target = Gaussian(dim=6, condition=50.0)
    eigenvalues = torch.linalg.eigvalsh(target.covariance)
    np.testing.assert_allclose(eigenvalues, np.geomspace(1, 50, 6), rtol=1e-10)
    off_diagonal = target.covariance - target.covariance.diagonal().diag()
    assert off_diagonal.abs().max() > 1
    assert Gaussian(dim=4).covariance == pytest.approx(np.eye(4), abs=1e-12)


def test_eight_gaussians_are_the_published_ones():
    target = EightGaussians()
    assert target.entropy == pytest.approx(2.8316, abs=5e-5)
    assert target.means[0] == pytest.approx([4 / math.sqrt(2), 0])
    assert target.means.norm(dim=-1) == pytest.approx([math.sqrt(8)] * 8)
    assert (target.sd, target.dim, target.exact) == (0.5 / math.sqrt(2), 2, True)
    assert target.entropy == Mixture().entropy


def test_mixture_entropy_tends_to_closed_forms():
    spread = math.log(2 * math.pi * math.e * 0.01)
    far = Mixture(modes=4, layout="grid", radius=5.0, sd=0.1, ratio=0.5)
    categorical = stats.entropy([8, 4, 2, 1])
    assert far.entropy == pytest.approx(spread + categorical, abs=1e-10)
    one = Mixture(modes=1, sd=0.1)
    assert one.entropy == pytest.approx(spread, abs=1e-12)


def test_mixture_weights_are_a_geometric_series():
    assert Mixture(modes=4, ratio=2.0).weights == pytest.approx(np.array([1, 2, 4, 8]) / 15)


def test_random_means_keep_their_distance_as_the_dimension_grows():
    squares = [
        Mixture(modes=4000, dim=d, layout="random", radius=3.0).means.square().sum(-1) for d in (2, 50)
    ]
    for values in squares:
        assert_mean(values, 9.0)


def test_the_grid_holds_the_published_25_gaussians():
    target = Mixture(modes=25, layout="grid", radius=4 / math.sqrt(2), sd=0.2 / math.sqrt(2))
    axis = torch.tensor([-4, -2, 0, 2, 4], dtype=torch.float64) / math.sqrt(2)
    torch.testing.assert_close(target.means, torch.cartesian_prod(axis, axis))


@pytest.mark.parametrize("m", [0.0, 1.0, 3.0])
def test_two_modes_entropy_against_adaptive_quadrature(m):
    w = 0.3

    def p(t: float) -> float:
        return w * stats.norm.pdf(t + m) + (1 - w) * stats.norm.pdf(t - m)

    along, _ = integrate.quad(lambda t: special.entr(p(t)), -m - 12, m + 12, epsabs=1e-11, limit=200)
    across = 4 * 0.5 * math.log(2 * math.pi * math.e)
    assert TwoModes(dim=5, m=m, weight=w).entropy == pytest.approx(along + across, abs=1e-9)


@pytest.mark.parametrize("target", COMPONENTS, ids=repr)
def test_ica_is_the_law_of_mixed_logistic_sources(target):
    B = target.unmixing
    x = 1.5 * target.sample(200, stream("reference"))
    sources = stats.logistic.logpdf((x @ B).numpy()).sum(-1)
    np.testing.assert_allclose(target.log_prob(x), sources + np.linalg.slogdet(B).logabsdet, rtol=1e-10)
    s = target.sample(20_000, stream("sources")) @ B
    for i in range(target.dim):
        assert stats.kstest(s[:, i].numpy(), stats.logistic.cdf).pvalue > 1e-3


@pytest.mark.parametrize("d", [1, 2, 9, 64])
def test_ica_mixing_is_turned_conditioned_below_d_and_of_unit_scale(d):
    B = ICA(dim=d).unmixing
    assert torch.linalg.cond(B).item() == pytest.approx((d + 1) / 2)
    variance = math.pi**2 / 3 * torch.linalg.inv(B).square().sum(0).mean()
    assert variance.item() == pytest.approx(math.pi**2 / 3)
    assert d == 1 or (B - B.diagonal().diag()).abs().max() > 0.3
    assert ICA(dim=d).entropy == pytest.approx(2 * d - np.linalg.slogdet(B).logabsdet)


def test_ica_samples_in_float32_reach_the_tails():
    s = ICA(dim=1).sample(2_000_000, stream("tails", dtype=torch.float32)) @ ICA(dim=1).unmixing.float()
    assert s.isfinite().all()
    assert 12 < s.max() < 25
    assert -25 < s.min() < -12


@pytest.mark.parametrize("target", BIMODALS, ids=repr)
def test_bimodal_product_is_the_product_of_its_coordinates(target):
    m, sd = target.m, target.sd

    def p(x: np.ndarray | float) -> np.ndarray | float:
        return (stats.norm.pdf(x, -m, sd) + stats.norm.pdf(x, m, sd)) / 2

    x = 1.5 * target.sample(200, stream("reference"))
    np.testing.assert_allclose(target.log_prob(x), np.log(p(x.numpy())).sum(-1), rtol=1e-10)
    edge = m + 12 * sd
    each, _ = integrate.quad(lambda t: special.entr(p(t)), -edge, edge, epsabs=1e-11, limit=200)
    assert target.entropy == pytest.approx(target.dim * each, abs=1e-9)


def test_bimodal_product_entropy_of_far_modes_is_a_gaussians_and_a_bit():
    spread = 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert BimodalProduct(dim=3, m=4.0, sd=0.1).entropy == pytest.approx(3 * (spread + math.log(2)))


# ------------------------------------------------------------------------------------------------------- phi4


@pytest.mark.parametrize(
    ("dim", "log_z"), [(1, 1.426896), (2, 2.306791), (4, 4.114196), (16, 14.981325), (64, 58.450128)]
)
def test_phi4_log_z(dim, log_z):
    assert Phi4(dim=dim).log_z == pytest.approx(log_z, abs=1e-6)


@pytest.mark.parametrize("m2", [-20.0, -1.0, 0.0, 20.0])
@pytest.mark.parametrize("lam", [0.05, 100.0])
def test_phi4_grid_is_fine_enough_at_the_limits_of_the_settings(m2, lam):
    """Against four times the points on a box whose ends lie 60 instead of 32 above the minimum."""
    wide = np.linspace(-30, 30, 60_001)
    V = m2 / 2 * wide**2 + lam * wide**4
    inside = wide[V.min() + 60 > V]
    x, step = np.linspace(inside[0], inside[-1], 1601, retstep=True)
    site = np.exp(V.min() - m2 / 2 * x**2 - lam * x**4)
    kernel = step * np.exp(-((x[:, None] - x) ** 2) / 2)
    f = site
    for _ in range(5):
        f = site * (kernel @ f)
    assert Phi4(dim=6, m2=m2, lam=lam).log_z == pytest.approx(
        math.log(step * f.sum()) - 6 * V.min(), abs=1e-9
    )


@pytest.mark.parametrize("target", CHAINS, ids=repr)
def test_phi4_entropy_is_the_mean_energy_and_log_z(target):
    marginals, second, x = reference_chain(target)
    square = np.diag(second)
    bonds = (square[1:] + square[:-1]) / 2 - np.diag(second, k=1)
    sites = target.m2 / 2 * square + target.lam * marginals @ x**4
    assert target.entropy == pytest.approx(bonds.sum() + sites.sum() + target.log_z, abs=1e-9)


@pytest.mark.parametrize("site", [0, 1, 4])
def test_phi4_samples_follow_the_exact_marginals(site):
    target = Phi4()
    marginals, _, grid = reference_chain(target)
    x = target.sample(30_000, stream("marginal"))[:, site].numpy()
    cdf = np.cumsum(marginals[site]) - marginals[site] / 2
    assert stats.kstest(x, lambda t: np.interp(t, grid, cdf)).pvalue > 1e-3
    assert len(np.unique(x)) == len(x)


def test_phi4_neighbours_covary_in_a_long_chain():
    """At 24 sites all but the first few share one table of the sampler."""
    target = Phi4(dim=24)
    _, second, _ = reference_chain(target)
    x = target.sample(20_000, stream("neighbours"))
    assert_mean(x[:, 1:] * x[:, :-1], torch.from_numpy(np.diag(second, k=1).copy()))


def test_phi4_samples_carry_no_bias_of_the_grid():
    """E[s²] = -E[∂s] at a step of 0.36 standard deviations, where a uniform place alone adds 1 % to E[s²]."""
    target = Phi4(dim=2, m2=-20.0, lam=0.05)
    x = target.sample(400_000, stream("bias"))
    curvature = target.m2 + 12 * target.lam * x.square() + 1
    assert_mean(target.score(x).square() - curvature, 0.0)


# ----------------------------------------------------------------------------------------------------- digits


def levels(x: Tensor) -> Tensor:
    return (17 * Digits().to_pixels(x.double())).floor()


def test_digits_split_covers_every_row_once():
    splits = Digits().splits()
    parts = (splits.train, splits.val, splits.test)
    assert [p.shape for p in parts] == [(1257, 64), (270, 64), (270, 64)]
    assert all(p.dtype == torch.float32 for p in parts)
    found = levels(torch.cat(parts)).numpy()
    np.testing.assert_array_equal(sorted(map(tuple, found)), sorted(map(tuple, load_digits().data)))


def test_digits_are_dequantised_with_uniform_noise():
    pixels = 17 * Digits().to_pixels(Digits().sample(300, stream("noise")))
    assert stats.kstest((pixels - pixels.floor()).flatten(), "uniform").pvalue > 1e-3


def test_digits_sample_training_rows_only():
    train = {tuple(row) for row in Digits().splits().train.tolist()}
    x = Digits().sample(500, stream("rows", dtype=torch.float32))
    assert all(tuple(row) in train for row in x.tolist())


def test_digits_log_det_is_the_jacobian_of_the_transform():
    x = Digits().sample(1, stream("jacobian"))[0]
    jacobian = torch.func.jacrev(Digits().to_pixels)(x)  # dy/dx, the inverse of the transform's
    torch.testing.assert_close(Digits().log_det(x), -torch.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=0)


def test_digits_density_in_pixels_integrates_to_one():
    alpha = 0.05

    def density(y: float) -> float:
        x = torch.tensor([special.logit(alpha + (1 - 2 * alpha) * y)], dtype=torch.float64)
        return math.exp(stats.norm.logpdf(x.item(), loc=0.3, scale=0.8) + Digits().log_det(x).item())

    inside = (-alpha / (1 - 2 * alpha), (1 - alpha) / (1 - 2 * alpha))  # the image of the real line
    assert integrate.quad(density, *inside)[0] == pytest.approx(1, abs=1e-8)


# ------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (Gaussian, {"dim": 0}, "gaussian.dim: 0 given; allowed: an integer of at least 1"),
        (Gaussian, {"dim": -3}, "gaussian.dim: -3 given; allowed: an integer of at least 1"),
        (Gaussian, {"dim": 2.0}, "gaussian.dim: 2.0 given; allowed: an integer of at least 1"),
        (Gaussian, {"dim": True}, "gaussian.dim: True given; allowed: an integer of at least 1"),
        (
            Gaussian,
            {"condition": 0.5},
            "gaussian.condition: 0.5 given; allowed: a finite number of at least 1",
        ),
        (
            Gaussian,
            {"condition": math.nan},
            "gaussian.condition: nan given; allowed: a finite number of at least 1",
        ),
        (
            Gaussian,
            {"condition": "big"},
            "gaussian.condition: 'big' given; allowed: a finite number of at least 1",
        ),
        (Mixture, {"modes": 0}, "mixture.modes: 0 given; allowed: an integer of at least 1"),
        (Mixture, {"modes": 2.5}, "mixture.modes: 2.5 given; allowed: an integer of at least 1"),
        (Mixture, {"dim": 3}, "mixture.dim: 3 given; allowed: 2, or any with the layout random"),
        (Mixture, {"layout": "line"}, "mixture.layout: 'line' given; allowed: ring, grid, random"),
        (Mixture, {"layout": "grid"}, "mixture.modes: 8 given; allowed: 4, 9, 16, ... with the layout grid"),
        (Mixture, {"radius": 0}, "mixture.radius: 0 given; allowed: a finite positive number"),
        (Mixture, {"sd": -1.0}, "mixture.sd: -1.0 given; allowed: a finite positive number"),
        (Mixture, {"ratio": math.inf}, "mixture.ratio: inf given; allowed: a finite positive number"),
        (Phi4, {"dim": "8"}, "phi4.dim: '8' given; allowed: an integer of at least 1"),
        (Phi4, {"m2": -21.0}, "phi4.m2: -21.0 given; allowed: a number from -20 to 20"),
        (Phi4, {"lam": 0.0}, "phi4.lam: 0.0 given; allowed: a number from 0.05 to 100"),
        (Phi4, {"lam": True}, "phi4.lam: True given; allowed: a number from 0.05 to 100"),
        (TwoModes, {"dim": 0}, "two_modes.dim: 0 given; allowed: an integer of at least 1"),
        (TwoModes, {"m": -1.0}, "two_modes.m: -1.0 given; allowed: a finite number of at least 0"),
        (TwoModes, {"weight": 1.0}, "two_modes.weight: 1.0 given; allowed: above 0 and below 1"),
        (TwoModes, {"weight": 0}, "two_modes.weight: 0 given; allowed: above 0 and below 1"),
        (ICA, {"dim": 0}, "ica.dim: 0 given; allowed: an integer of at least 1"),
        (BimodalProduct, {"dim": True}, "bimodal_product.dim: True given; allowed: an integer of at least 1"),
        (BimodalProduct, {"m": -1}, "bimodal_product.m: -1 given; allowed: a finite number of at least 0"),
        (BimodalProduct, {"sd": 0.0}, "bimodal_product.sd: 0.0 given; allowed: a finite positive number"),
    ],
)
def test_settings_out_of_range_are_one_line(cls, settings, message):
    with pytest.raises(SpecError) as error:
        cls(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize("cls", [EightGaussians, Digits])
def test_fixed_data_sets_have_no_dim_setting(cls):
    with pytest.raises(TypeError, match="dim"):
        cls(dim=3)
