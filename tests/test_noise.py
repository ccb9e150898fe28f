"""Noise distributions against quadrature, their own moments, and points that the fit has not seen."""

import math

import pytest
import torch

from ebmark.api import Energy, Rng
from ebmark.errors import SpecError
from ebmark.meter import Meter
from ebmark.noise import KINDS, contrast, estimate_log_z, fit, log_prob, sample
from ebmark.registry import get

SCALES = (1.0, 1.5)


class Quadratic(torch.nn.Module):
    """E(x) = |x|²/2, whose log Z is (d/2) log 2π."""

    def forward(self, x):
        return 0.5 * x.square().sum(-1)


def rng(*key):
    return Rng.of("noise", *key, dtype=torch.float64)


def two_modes(n=1500):
    """Correlated data with two modes, off the origin."""
    r = rng("data")
    x = r.normal((n, 2)) @ torch.tensor([[0.6, 0.3], [0.0, 0.4]], dtype=torch.float64)
    return x + torch.tensor([1.0, -2.0]) + 1.5 * r.sign((n, 1))


def lattice(centre, half, n):
    """Midpoints ``(n², 2)`` of a square lattice and the area of a cell."""
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1
    return centre + half * torch.cartesian_prod(axis, axis), (2 * half / n) ** 2


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_and_has_the_moments_of_the_samples(kind, scale):
    q = fit(kind, two_modes(), rng("fit"), scale)
    x, cell = lattice(two_modes().mean(0), 40.0, 1600)
    weight = cell * log_prob(x, q).exp()
    # The box's edges cut cells: the midpoint rule is exact to the share of such cells.
    assert weight.sum().item() == pytest.approx(1, abs=3e-2 if kind == "uniform" else 1e-6)
    weight = weight / weight.sum()
    n = 40_000
    energy = Energy(Quadratic(), Meter())
    y = sample(energy, (n,), q, rng("y"))
    assert y.shape == (n, 2)
    assert energy.meter.noise_samples == n
    edge = 0.02 if kind == "uniform" else 0.0
    for f in (lambda x: x, lambda x: x.square(), lambda x: x[..., :1] * x[..., 1:]):
        mean, se = f(y).mean(0), f(y).std(0) / math.sqrt(n)
        assert ((mean - weight @ f(x)).abs() <= 4 * se + edge).all()


@pytest.mark.parametrize("scale", SCALES)
def test_gaussian_noise_has_the_mean_and_covariance_of_its_data(scale):
    data = two_modes()
    q = fit("gaussian", data, rng("fit"), scale)
    reference = torch.distributions.MultivariateNormal(data.mean(0), scale**2 * data.T.cov())
    assert torch.allclose(log_prob(data, q), reference.log_prob(data), atol=1e-4)  # jitter of 1e-6


@pytest.mark.parametrize("kind", ["uniform", "mixture"])
def test_other_noise_has_about_the_place_of_its_data(kind):
    data = two_modes()
    y = sample(Energy(Quadratic(), Meter()), (20_000,), fit(kind, data, rng("fit")), rng("y"))
    sd = data.std(0)
    assert ((y.mean(0) - data.mean(0)).abs() < 0.3 * sd).all()
    assert ((y.std(0) / sd).log().abs() < 0.4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_density_is_finite_wherever_a_later_batch_may_fall(kind):
    data = two_modes(200)
    q = fit(kind, data, rng("fit"), 0.5)
    later = torch.cat([two_modes(20_000), data, (data.mean(0) + 30 * data.std(0))[None]])
    assert torch.isfinite(log_prob(later, q)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_leading_dimensions(kind):
    data = two_modes()
    each = [fit(kind, data * (i + 1), rng("fit", i)) for i in range(2)]
    both = {name: torch.stack([q[name] for q in each]) for name in each[0]}
    streams = rng("y").stack(2)
    energy = Energy(Quadratic(), Meter())
    y = sample(energy, (2, 50), both, streams)
    for i, q in enumerate(each):
        alone = sample(energy, (50,), q, Rng(streams.seeds[i], dtype=torch.float64))
        assert torch.allclose(y[i], alone)
        assert torch.allclose(log_prob(y, both)[i], log_prob(alone, q))
        assert torch.allclose(log_prob(y, q)[i], log_prob(y[i], q))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_can_be_fitted(kind):
    data = two_modes(300)
    data[:, 1] = 2.0
    q = fit(kind, data, rng("fit"))
    assert torch.isfinite(log_prob(data, q)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_stays_single(kind):
    data = two_modes(300).float()
    q = fit(kind, data, Rng.of("fit"))
    y = sample(Energy(Quadratic(), Meter()), (4,), q, Rng.of("y"))
    assert y.dtype == log_prob(y, q).dtype == torch.float32


@pytest.mark.parametrize("d", [2, 30])
def test_mixture_noise_finds_more_than_one_mode_in_any_dimension(d):
    r = rng("modes", d)
    data = 0.1 * r.normal((1000, d)) + r.sign((1000, 1))
    q = fit("mixture", data, r)
    gaussian = fit("gaussian", data, r)
    assert (log_prob(data, q) - log_prob(data, gaussian)).mean() > 0.5


def test_importance_estimate_of_log_z():
    data = two_modes()
    q = fit("gaussian", data - data.mean(0), rng("fit"), 1.5)
    found = estimate_log_z(Energy(Quadratic(), Meter()), q, rng("y"), 200_000)
    assert found.item() == pytest.approx(math.log(2 * math.pi), abs=0.05)


def test_contrast_is_half_where_model_and_noise_are_equal():
    """There the ratio says nothing; points that it tells apart are seen as such."""
    logs = contrast(torch.zeros(3, 10), 5)
    assert logs["overlap"].tolist() == logs["accuracy"].tolist() == [0.5] * 3
    apart = contrast(torch.tensor([9.0, 9.0, -9.0, -9.0]), 2)
    assert apart["accuracy"] == 1
    assert apart["overlap"] < 0.01


def test_settings_out_of_range_are_refused():
    allowed = "gaussian, independent, uniform, mixture"
    with pytest.raises(SpecError, match=rf"nce\.noise: 'pink' given; allowed: {allowed}"):
        get("method", "nce")(noise="pink")
    with pytest.raises(SpecError, match=r"nce\.scale: 0 given; allowed: a positive number"):
        get("method", "nce")(scale=0)
