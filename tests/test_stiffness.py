"""Whether the sampler's step fits: a share of the data in closed form, and the funnel refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebmark.api import Energy, Meter
from ebmark.base import Base, Path
from ebmark.normaliser import smc
from ebmark.stiffness import gradients, too_stiff
from tests.densities import Formula, Funnel, Ring, stream

D = 5


def path(module: nn.Module) -> Path:
    """In coordinates z = x."""
    unit = torch.eye(D, dtype=torch.float64)
    centre = torch.zeros(D, dtype=torch.float64)
    one = unit[None]
    base = Base(
        weights=torch.ones(1, dtype=torch.float64),
        means=centre[None],
        trils=one,
        inverses=one,
        centre=centre,
        scale=unit,
    )
    return Path(module, base, Meter())


@pytest.mark.parametrize(("curvature", "share"), [(39.0, 0.0), (41.0, 1.0)])
def test_the_bound_is_that_of_the_leapfrog(curvature: float, share: float) -> None:
    """With h = 0.1 the shortest step has ε² = h, and is stable while h λ < 4. Three iterations find λ."""

    def energy(x: Tensor) -> Tensor:
        return 0.5 * (curvature * x[..., 0].square() + x[..., 1:].square().sum(-1))

    data = stream("stiff").normal((2000, D))
    one = path(Formula(energy))
    assert too_stiff(one, data, 0.1, stream("rows")) == pytest.approx(share, abs=0.01)
    assert one.at(1.0).meter.passes.total / 2 == gradients()


def test_the_share_is_that_of_the_data_where_it_is_stiff() -> None:
    """E = exp(x_1) |x_2...|²/2: the curvature exp(x_1) is above 4/h = e for 0.16 of normal x_1."""

    def energy(x: Tensor) -> Tensor:
        return 0.5 * x[..., 0].exp() * x[..., 1:].square().sum(-1)

    data = 1e-3 * stream("share").normal((4000, D))
    data[:, 0] = stream("along").normal((4000,))
    found = too_stiff(path(Formula(energy)), data, 4 / math.e, stream("rows"))
    assert found == pytest.approx(0.1587, abs=4 * math.sqrt(0.1587 * 0.8413 / 512))


@pytest.mark.parametrize("seed", range(3))
def test_a_funnel_of_few_dimensions_is_refused_although_the_runs_agree(seed: int) -> None:
    target = Funnel(10)
    data = target.sample(5000, stream("funnel", seed))
    found = smc(Energy(target), data, stream("funnel", seed), samples=1, max_gradients=300_000)
    assert any("too stiff for the sampler's step" in reason for reason in found.reasons)


def test_modes_and_correlations_are_not_stiff() -> None:
    target = Ring(10)
    found = smc(Energy(target), target.sample(5000, stream("ring")), stream("ring"), samples=1)
    assert found.trusted, found.reasons
