r"""Sliced 2-Wasserstein distance between model samples and held-out points.

    SW₂ = √( mean over directions θ of W₂²(θ'x, θ'y) )

In one dimension W₂² is the mean squared difference of the quantile functions. The directions are the same for
every method and seed.

Reference: Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, JMIV 51(1), 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Rng, Value, metric
from ebmark.floors import BLOCKS, against_truth, jackknife_error


@metric("sliced_wasserstein")
class SlicedWasserstein(Metric):
    """Root of the mean squared one-dimensional distance, in the data's units; never below zero.

    Attributes:
        directions: number of projections.
    """

    directions: int = 256
    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value:
        """The value with its jackknife standard error over ten blocks and its floor."""
        d = at.test.shape[-1]
        rng = Rng.of("sliced_wasserstein", d, device=at.test.device, dtype=at.test.dtype)
        θ = rng.normal((d, self.directions))
        θ = θ / θ.norm(dim=0)

        return against_truth(at, self, lambda a, b: sliced_w2(a, b, θ), lambda a, b: sliced_w2_error(a, b, θ))


def sliced_w2(a: Tensor, b: Tensor, projections: Tensor) -> float:
    """SW₂ between ``a (n, d)`` and ``b (m, d)`` along the unit columns of ``projections (d, L)``."""
    return _distance(_projected(a, projections)[0], _projected(b, projections)[0])


def sliced_w2_error(a: Tensor, b: Tensor, projections: Tensor) -> float:
    """``block_jackknife`` of ``sliced_w2``; both samples are sorted once for all blocks."""

    def without(values: Tensor, block_of: Tensor, block: int) -> Tensor:
        return values[block_of != block].reshape(len(values), -1)

    ordered = [(values, rows % BLOCKS) for values, rows in (_projected(x, projections) for x in (a, b))]
    return jackknife_error(
        [_distance(*(without(*each, block) for each in ordered)) for block in range(BLOCKS)]
    )


def _projected(x: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
    """``x (n, d)`` along each direction in ascending order ``(L, n)``, and the rows they come from."""
    values, rows = (projections.mT @ x.mT).sort(-1)
    return values, rows


def _distance(a: Tensor, b: Tensor) -> float:
    """SW₂ of sorted projections ``a (L, n)`` and ``b (L, m)``."""
    n, m = a.shape[-1], b.shape[-1]
    if n == m:
        return (a - b).square().mean(dtype=torch.float64).sqrt().item()
    # Both quantile functions are constant between neighbouring levels i/n and j/m.
    levels = torch.cat([_levels(n), _levels(m)]).sort().values
    width = levels.diff(prepend=torch.zeros(1, dtype=torch.float64))
    middle = levels - 0.5 * width
    i, j = ((middle * size).long().clamp(max=size - 1).to(a.device) for size in (n, m))
    squares = (a[:, i] - b[:, j]).square().mean(0, dtype=torch.float64)
    return (width.to(a.device) @ squares).sqrt().item()


def _levels(n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64) / n
