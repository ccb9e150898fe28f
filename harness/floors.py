"""What metrics share: how uncertain a number is, and the floor below which it cannot rank models.

A finite sample is some way off its own law. The floor of a metric between two samples is its value between
independent true samples of the sizes at hand: a model at the floor cannot be told from the truth, and among
such models the order means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value

PAIRS = 10  # of independent true samples
MOST = 2000  # points of either sample: the cost grows with their product
BLOCKS = 10  # of the jackknife
NORMAL_QUANTILE = 1.96  # 97.5 %

TwoSample = Callable[[Tensor, Tensor], float]


def normalised_mean(terms: Tensor, log_z: Value, points: str = "test points") -> Value:
    """The mean of ``terms (n,)`` plus log Z, with the errors of both and the doubts about log Z.

    NaN and not trusted where a term is not finite. The interval is one of 95 %, if that of log Z is.
    """
    if bad := int((~torch.isfinite(terms)).sum()):
        reason = f"not finite at {bad} of {len(terms)} {points}"
        return Value(value=math.nan, trusted=False, reasons=joined(log_z.reasons, reason))
    mean, se = terms.mean().item(), terms.std().item() / math.sqrt(len(terms))
    value, half = mean + log_z.value, NORMAL_QUANTILE * se
    return Value(
        value=value,
        se=math.hypot(se, log_z.se),
        lo=value - math.hypot(half, log_z.value - log_z.lo),
        hi=value + math.hypot(half, log_z.hi - log_z.value),
        trusted=log_z.trusted,
        reasons=log_z.reasons,
    )


def floor(at: Evaluation, metric: Metric, n: int, distance: TwoSample) -> tuple[float, float]:
    """Mean and standard deviation of ``distance`` between true samples, ``n`` points against the test size.

    ``distance`` must depend on the target only, not on the seed or the model: the floor is kept.
    """
    key = (metric, n, min(len(at.test), MOST))
    if key not in at.floors:
        pairs = (at.true_pair(i, n) for i in range(PAIRS))
        values = torch.tensor([distance(a, b[:MOST]) for a, b in pairs], dtype=torch.float64)
        at.floors[key] = values.mean().item(), values.std().item()
    return at.floors[key]


def usable_samples(at: Evaluation) -> tuple[Tensor | None, str]:
    """At most 2000 model samples, and the doubts about them; None, and why, where there are none.

    The trust of the sampler's samples is that of log Z, which comes from the same sampler above d = 3; a
    generator's own samples are what they are.
    """
    samples, reasons = at.samples(), at.log_z().reasons if at.source == "smc" else ""
    if samples is None:
        return None, reasons or "the sampler met an energy that is not finite"
    if bad := int((~samples.isfinite().all(-1)).sum()):
        return None, joined(reasons, f"{bad} of {len(samples)} samples are not finite")
    return samples[:MOST], reasons


def no_value(at: Evaluation, reasons: str) -> Value:
    """NaN, not trusted."""
    return Value(value=math.nan, source=at.source, trusted=False, reasons=reasons)


def joined(*reasons: str) -> str:
    """The doubts that there are, as one text."""
    return "; ".join(filter(None, reasons))


def against_truth(at: Evaluation, metric: Metric, distance: TwoSample, error: TwoSample) -> Value:
    """The ``distance`` of model samples from test points, at most 2000 of each, its error and its floor.

    The interval is one of 95 % for the samples at hand: it knows nothing of what a sampler has missed. Where
    there is no sample the value is NaN.
    """
    a, reasons = usable_samples(at)
    if a is None:
        return no_value(at, reasons)
    b = at.test[:MOST]
    return sampled(at, distance(a, b), error(a, b), floor(at, metric, len(a), distance), reasons)


def sampled(at: Evaluation, value: float, se: float, of_truth: tuple[float, float], reasons: str) -> Value:
    """A number of the samples with its 95 % interval, its floor's mean and sd, and the doubts about it."""
    return Value(
        value=value,
        se=se,
        lo=value - NORMAL_QUANTILE * se,
        hi=value + NORMAL_QUANTILE * se,
        source=at.source,
        trusted=not reasons,
        reasons=reasons,
        floor_mean=of_truth[0],
        floor_sd=of_truth[1],
    )


def block_jackknife(distance: TwoSample, a: Tensor, b: Tensor) -> float:
    """Standard error of ``distance(a, b)`` by leaving out a tenth of both samples at a time.

    Both samples count as independent points. At the floor, where the first-order term vanishes, the
    spread of the floor is the better guide.

    Reference: Efron, The jackknife, the bootstrap and other resampling plans, SIAM, 1982.
    """

    def without(x: Tensor, block: int) -> Tensor:
        return x[torch.arange(len(x), device=x.device) % BLOCKS != block]

    return jackknife_error([distance(without(a, block), without(b, block)) for block in range(BLOCKS)])


def jackknife_error(left_out: list[float]) -> float:
    """Standard error from the values without each of the blocks."""
    spread = torch.tensor(left_out, dtype=torch.float64).var(correction=0).item()
    return math.sqrt((len(left_out) - 1) * spread)
