"""log Z of an energy, and samples of its model: quadrature for d <= 3, sequential Monte Carlo above.

Both come with a standard error and with reasons not to trust them. What is **not** detected above d = 3: a
mode of the model that neither the data nor the probe reaches. Every particle then misses it, forwards and
backwards, log Z comes out too low and the likelihood therefore too high, and nothing is flagged. A quadrature
sees such a mode only if it lies in the box around the data.

How far the probe reaches was measured on a hidden mode at 6, 12 and 25 standard deviations from N(0, I), of
its width and 1 or 10 times its mass, at d = 2, 10, 50 and 128: docs/evaluation.md has the table. A mode that
is narrower than the model has, above d = 10, a basin that no wide start meets, unless a start of the caller's
lies near it.

Nor does it see what all runs miss for another reason: where the energy is far stiffer than elsewhere, as in
the neck of a funnel, every move is refused. The data tell: ``stiffness`` refuses such an estimate. Tails much
heavier than the base's are not flagged: at d = 50 Student's t of 3 degrees came out 0.05 to 0.26 nats low.

A model close to the base takes 60,000 to 125,000 gradients at d = 2 to 50, half of that for the checks. More
is spent while the error is above 0.1 nats, up to the cap of 1,500,000, which pays for about 70 temperatures.
With an energy of three layers of 128 a gradient takes 5 µs at d = 8 and 32 and 7 µs at d = 64 on one idle
CPU thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ebmark.api import Energy, Meter, Rng, Value
from ebmark.base import NotFinite, Path, fit_base
from ebmark.estimate import ENOUGH_SE, Budget, Estimate, estimate
from ebmark.quadrature import POINTS, ROUNDED, dtype_of, integrate, rounding
from ebmark.samplers import hmc
from ebmark.smc import LEAPFROGS, MOVES, systematic
from ebmark.trial import MAX_GRADIENTS

T_QUANTILE = 2.365  # Student's t, 97.5 %, 8 - 1 = 7 degrees of freedom
IMPROPER = "the network has no Gaussian term, so Z may be infinite"


@dataclass(frozen=True, kw_only=True)
class LogZ:
    """log Z in nats, how far to trust it, and what it cost.

    Attributes:
        value: the estimate; NaN where the energy is not finite.
        se: standard error: jackknife over the runs, or half the gap to a reverse run if that is more; of a
            quadrature the difference from half the points.
        lo: lower end of a 95 % interval (quadrature: value - se).
        hi: upper end. Both hold the reverse estimates.
        trusted: there is no reason against it.
        reasons: what speaks against it, one line each.
        samples: of the model, equally weighted ``(m, d)``; None from a quadrature or a failure.
        gradients: work spent, in gradients on one point (2 F each).
        seconds: wall-clock spent.
        method: "quadrature", "smc" or "closed form".
        reverse: log Z by the path backwards from the model's samples and from the data, a check.
    """

    value: float
    se: float
    lo: float
    hi: float
    trusted: bool
    reasons: tuple[str, ...]
    samples: Tensor | None = field(repr=False)
    gradients: float
    seconds: float
    method: Literal["quadrature", "smc", "closed form"]
    reverse: tuple[float, ...] = ()

    def as_value(self) -> Value:
        """What metrics see of it."""
        reasons = "; ".join(self.reasons)
        return Value(
            value=self.value, se=self.se, lo=self.lo, hi=self.hi, trusted=self.trusted, reasons=reasons
        )


def log_z(
    energy: Energy,
    data: Tensor,
    rng: Rng,
    *,
    max_gradients: float = MAX_GRADIENTS,
    samples: int = 1024,
    improper: bool = False,
    starts: Tensor | None = None,
) -> LogZ:
    """Finds log Z by the best means for the dimension. Arguments as for ``smc``.

    For d <= 3 a quadrature, without samples: those come from ``smc`` in every dimension, so that all methods
    and dimensions share one sampler and one budget.
    """
    if data.shape[-1] not in POINTS:
        return smc(
            energy,
            data,
            rng,
            max_gradients=max_gradients,
            samples=samples,
            improper=improper,
            starts=starts,
        )
    meter = Meter(data.device)
    with meter.phase("evaluation"):
        integral = integrate(Energy(energy.module, meter), data)
    reasons = integral.reasons + ((IMPROPER,) if improper else ())
    return _result("quadrature", meter, (integral.value, integral.error, integral.error), reasons)


def smc(
    energy: Energy,
    data: Tensor,
    rng: Rng,
    *,
    max_gradients: float = MAX_GRADIENTS,
    samples: int = 1024,
    improper: bool = False,
    starts: Tensor | None = None,
    check: bool = True,
) -> LogZ:
    """Finds log Z and model samples by 8 to 32 runs of 128 particles; the module's text says what it misses.

    Args:
        energy: of the model; its own meter is left alone.
        data: training points ``(n, d)`` that the base is fitted to.
        rng: the stream; the same stream gives the same result.
        max_gradients: cap on the work. A longer schedule is thinned to fit, and the result flagged.
        samples: number m of samples: the weighted particles, pooled and resampled, after two more moves.
        improper: the network is known to have no term that makes it normalisable.
        starts: points ``(s, d)`` from which the probe climbs too: of a replay buffer or a generator.
        check: search for missed modes, run backwards and escalate; without it only samples are worth having.
    """
    meter = Meter(data.device)
    n, d = data.shape
    reasons = [IMPROPER] if improper else []
    if n < 2 * d:
        reasons.append(f"the base is fitted to n = {n} points, fewer than 2 d = {2 * d}")
    with meter.phase("evaluation"):
        rng = Rng(rng.split("smc").seeds[0], device=data.device, dtype=dtype_of(energy.module, data.dtype))
        path = Path(energy.module, fit_base(data, rng), meter)
        try:
            budget = Budget(cap=max_gradients, samples=samples, meter=meter, check=check)
            found = estimate(path, data, starts, budget, rng)
            x = _draw(found, samples, rng).to(data.dtype)
            numbers, reverse = (found.value, found.se, T_QUANTILE * found.se), found.reverse
            reasons += found.reasons
            if (off := rounding(rng.dtype, found.value)) > ENOUGH_SE:
                reasons.append(ROUNDED.format(off))
        except NotFinite as error:
            numbers, reverse, x = (math.nan, math.nan, math.nan), (), None
            reasons.append(str(error))
    return replace(_result("smc", meter, numbers, tuple(reasons), x), reverse=reverse)


def known(value: float) -> LogZ:
    """The log Z ``value`` of a network that has it in closed form."""
    return _result("closed form", Meter(), (value, 0.0, 0.0), ())


def _result(
    method: Literal["quadrature", "smc", "closed form"],
    meter: Meter,
    estimate: tuple[float, float, float],
    reasons: tuple[str, ...],
    samples: Tensor | None = None,
) -> LogZ:
    value, se, half = estimate
    return LogZ(
        value=value,
        se=se,
        lo=value - half,
        hi=value + half,
        trusted=not reasons,
        reasons=reasons,
        samples=samples,
        gradients=meter.passes.total / 2,
        seconds=sum(meter.seconds.values()),
        method=method,
    )


def _draw(found: Estimate, m: int, rng: Rng) -> Tensor:
    """Draws ``m`` equally weighted samples ``(m, d)``: all particles, resampled and moved twice."""
    path, runs, h = found.path, found.runs, found.schedule.steps[-1]
    pool = runs.z.flatten(0, 1)
    z = pool[systematic(runs.log_w.flatten().softmax(-1), m, rng)]
    step = torch.tensor(h, dtype=z.dtype, device=z.device)
    z = hmc(path.at(1.0), z, k=MOVES, leapfrogs=LEAPFROGS, h=step, rng=rng).x
    path.log_ratio(z)  # refuses an energy that is not finite where the moves have led
    return path.base.to_data(z)
