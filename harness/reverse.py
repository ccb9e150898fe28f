r"""The path backwards, from the model to the base: a check of the forward runs, never averaged into them.

Particles that start as samples of the model, and are moved and reweighted from β = 1 down to 0, estimate 1/Z:

    log Z_reverse = -log (1/R) Σ_r Ẑ_r⁻¹,    Ẑ_r⁻¹ = mean of Π_t (π_β(t-1) / π_β(t)) over the particles

From exact samples E[Ẑ_r⁻¹] = 1/Z, so that log Z_reverse lies above log Z on average, as the forward estimate
lies below. Neither start is exact, so neither bounds anything: (a) the forward particles, (b) training data,
each after 50 moves. A model with the data's modes but other weights m' ≠ m lowers (b) by log Σ m'²/m.

Reference: Grosse, Ancha and Roy, Measuring the reliability of MCMC inference with bidirectional Monte Carlo,
NeurIPS 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark import smc
from ebmark.api import Rng
from ebmark.base import Path

RUNS, PARTICLES = 8, 32  # from each of the two starts
# 32 chains leave each start; their states after 50 moves and, 3 moves apart, 7 more times are the particles.
MOVES, APART = 50, 3
GAP, ERRORS = 0.25, 3.0  # nats and standard errors that the two directions may differ by
STARTS = ("its own samples", "the data")


@dataclass(frozen=True, kw_only=True)
class Reverse:
    """What the reverse runs found.

    Attributes:
        values: log Z from the forward particles and from the data, in nats.
        ses: the jackknife standard error of each.
    """

    values: tuple[float, float]
    ses: tuple[float, float]

    @classmethod
    def of(cls, log_inverse: Tensor) -> Reverse:
        """What runs from the two starts have found: logs of estimates of 1/Z ``(2, R)``."""
        (a, se_a), (b, se_b) = (log_mean(each) for each in log_inverse)
        return cls(values=(-a, -b), ses=(se_a, se_b))

    def gap(self, forward: float) -> float:
        """The larger of the differences from ``forward``, by size."""
        return max((value - forward for value in self.values), key=abs)

    def doubts(self, forward: float, se: float) -> tuple[list[str], list[str]]:
        """Gaps that more work may close, and starts from which the estimate lies below the forward one."""
        above, below = [], []
        for value, own, start in zip(self.values, self.ses, STARTS, strict=True):
            gap, bar = value - forward, max(GAP, ERRORS * math.hypot(se, own))
            if gap > bar:
                above.append(f"the reverse run from {start} lies {gap:.2g} above, more than {bar:.2g}")
            elif not gap >= -bar:
                below.append(
                    f"inverted: the reverse run from {start} lies {-gap:.2g} below, more than {bar:.2g}; "
                    "the model has mass where the data have less"
                )
        return above, below


def gradients(temperatures: int) -> float:
    """What ``reverse`` costs."""
    moves = (MOVES + (RUNS - 1) * APART) * smc.LEAPFROGS + RUNS
    return 2 * PARTICLES * (moves + RUNS * smc.gradients() * temperatures)


def reverse(path: Path, schedule: smc.Schedule, runs: smc.Runs, data: Tensor, rng: Rng) -> Tensor:
    """Runs the frozen ``schedule`` backwards from particles of ``runs`` and from ``data (n, d)``.

    Returns logs of estimates of 1/Z ``(2, R)``.
    """
    pool = runs.z.flatten(0, 1)
    forward = pool[smc.systematic(runs.log_w.flatten().softmax(-1), PARTICLES, rng)]
    rows = rng.integers(len(data), (PARTICLES,))
    z = torch.stack([forward, path.base.to_white(data[rows].to(forward))])
    starts = []
    for r in range(RUNS):
        z = smc.move(path, 1.0, z, schedule.steps[-1], rng, APART if r else MOVES).x
        starts.append(z)
    # A run holds all states of four chains and no chain is in two runs: the jackknife sees what states share.
    z = torch.stack(starts, 2).reshape(2 * RUNS, PARTICLES, -1)
    return _descend(path, schedule, z, rng).reshape(2, RUNS)


def _descend(path: Path, schedule: smc.Schedule, z: Tensor, rng: Rng) -> Tensor:
    """Each run's log of the estimate of 1/Z ``(R,)`` from samples of the model ``z (R, K, d)``."""
    log_w = torch.zeros(z.shape[:-1], dtype=torch.float64, device=z.device)
    betas = (0.0, *schedule.betas)
    for t in reversed(range(len(schedule.betas))):
        if betas[t + 1] < 1:
            z, log_w = smc.resample(z, log_w, rng)
            z = smc.move(path, betas[t + 1], z, schedule.steps[t], rng, smc.MOVES).x
        log_w = log_w - (betas[t + 1] - betas[t]) * path.log_ratio(z)
    return log_w.logsumexp(-1) - math.log(log_w.shape[-1])


def log_mean(log_z: Tensor) -> tuple[float, float]:
    """The log of the mean of exp(log_z), ``log_z (R,)``, and its jackknife standard error."""
    R = len(log_z)
    itself = torch.eye(R, dtype=torch.bool, device=log_z.device)
    left_out = log_z.expand(R, R).masked_fill(itself, -math.inf).logsumexp(-1)
    se = math.sqrt((R - 1) * left_out.var(correction=0).item())
    return log_z.logsumexp(-1).item() - math.log(R), se
