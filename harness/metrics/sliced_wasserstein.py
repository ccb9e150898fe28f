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
from ebmark.floors import against_truth, block_jackknife


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

        def distance(a: Tensor, b: Tensor) -> float:
            return sliced_w2(a, b, θ)

        return against_truth(at, self, distance, lambda a, b: block_jackknife(distance, a, b))


def sliced_w2(a: Tensor, b: Tensor, projections: Tensor) -> float:
    """SW₂ between ``a (n, d)`` and ``b (m, d)`` along the unit columns of ``projections (d, L)``."""
    n, m = len(a), len(b)
    a, b = (a @ projections).sort(0).values, (b @ projections).sort(0).values
    # Both quantile functions are constant between neighbouring levels i/n and j/m.
    levels = torch.cat([_levels(n), _levels(m)]).sort().values
    width = levels.diff(prepend=torch.zeros(1, dtype=torch.float64))
    middle = levels - 0.5 * width
    i, j = ((middle * size).long().clamp(max=size - 1).to(a.device) for size in (n, m))
    squares = (a[i] - b[j]).square().mean(1, dtype=torch.float64)
    return (width.to(a.device) @ squares).sqrt().item()


def _levels(n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64) / n
