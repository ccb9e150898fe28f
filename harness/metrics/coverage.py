"""Coverage and precision of model samples, through the neighbourhoods of held-out points.

A point's neighbourhood is the ball that reaches to its 5th nearest neighbour among the held-out points.
Coverage is the share of neighbourhoods with a model sample in them: it falls with missing modes. Precision is
the share of model samples in some neighbourhood: it falls with outliers, and where samples are too wide.

Recall, whose balls are around model samples, is left out: it improves where the model is too wide.

References: Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020, for
coverage; Kynkäänniemi et al., Improved precision and recall metric for assessing generative models, NeurIPS
2019, for precision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import TwoSample, against_truth, block_jackknife
from ebmark.pairs import chunks

NEIGHBOURS = 5


@metric("coverage")
class Coverage(Metric):
    """The share of held-out points with a model sample in their neighbourhood; its floor is below 1."""

    better = "higher"
    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its jackknife error and its floor; None below 6 held-out points."""
        return _share(at, self, coverage)


@metric("precision")
class Precision(Metric):
    """The share of model samples in the neighbourhood of some held-out point; its floor is below 1."""

    better = "higher"
    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its jackknife error and its floor; None below 6 held-out points."""
        return _share(at, self, precision)


def coverage(model: Tensor, true: Tensor) -> float:
    """The share of ``true (m, d)`` with some of ``model (n, d)`` nearer than their 5th neighbour."""
    nearest = torch.full((len(true),), math.inf, dtype=true.dtype, device=true.device)
    for _, squares in chunks(model, true):
        nearest = torch.minimum(nearest, squares.amin(0))
    return (nearest < square_radii(true)).double().mean().item()


def precision(model: Tensor, true: Tensor) -> float:
    """The share of ``model (n, d)`` nearer to some of ``true (m, d)`` than its 5th neighbour."""
    radii = square_radii(true)
    inside = [(squares < radii).any(1) for _, squares in chunks(model, true)]
    return torch.cat(inside).double().mean().item()


def square_radii(x: Tensor) -> Tensor:
    """Squared distance ``(n,)`` of each row of ``x (n, d)`` from its 5th nearest other row."""
    radii = []
    for start, squares in chunks(x, x):
        squares.diagonal(start).fill_(math.inf)
        radii.append(squares.topk(NEIGHBOURS, largest=False).values[:, -1])
    return torch.cat(radii)


def _share(at: Evaluation, metric: Metric, share: TwoSample) -> Value | None:
    # For shares of neighbourhoods, which are not smooth, the jackknife errs upward, by about a third.
    if len(at.test) <= NEIGHBOURS:
        return None
    return against_truth(at, metric, share, lambda a, b: block_jackknife(share, a, b))
