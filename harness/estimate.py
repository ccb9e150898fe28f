"""From a base to log Z within a budget: pilot, probe, runs, runs backwards, and again while they disagree.

The work is counted in gradients on one point and never exceeds the cap. With T temperatures in d dimensions
the first round takes at most

    256 g T  pilot, 1024 g T  runs, 512 g T + 23,232  backwards, 14,904 + 16 d  probe, 2,048  stiffness

with g = 11.5, a second pilot if the probe found something, and g per sample. While the error is above 0.1
nats or the runs disagree, eight more runs in both directions join the earlier ones, and then such of twice
the moves, if their whole schedule is paid for. Each is unbiased, so that the mean of all is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ebmark import smc
from ebmark.api import Meter, Rng
from ebmark.base import Path
from ebmark.probe import Modes, probe
from ebmark.probe import gradients as probe_gradients
from ebmark.reverse import Reverse, log_mean, reverse
from ebmark.reverse import gradients as reverse_gradients
from ebmark.stiffness import MOST as MOST_STIFF
from ebmark.stiffness import gradients as stiffness_gradients
from ebmark.stiffness import too_stiff

PILOT_SHARE = 0.4  # of what is left when it starts, at most
ROUNDS = (smc.MOVES, smc.MOVES, 2 * smc.MOVES, 2 * smc.MOVES)  # moves per temperature of eight runs each
MOST_SD, LEAST_ACCEPTANCE = 1.0, 0.15
ENOUGH_SE = 0.1  # nats: an error that more work need not reduce
OUTSIDE = 0.03  # share of the mass in modes that the base alone missed: as much as an error bar hides


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """log Z in nats, from all rounds of runs.

    Attributes:
        path: from the base that the runs used.
        schedule: of those runs.
        runs: forward.
        value: log of the mean of their Z.
        se: jackknife error, or half the gap to a reverse run if that is more.
        reverse: log Z from the runs backwards, from the model's samples and from the data; empty unchecked.
        reasons: not to trust it.
    """

    path: Path
    schedule: smc.Schedule
    runs: smc.Runs
    value: float
    se: float
    reverse: tuple[float, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be spent: ``cap`` gradients on ``meter``, those of the last ``samples`` kept aside.

    ``check`` says that the probe and the reverse runs are to be paid for.
    """

    cap: float
    samples: int
    meter: Meter
    check: bool

    def left(self, aside: float = 0) -> float:
        """Gradients left for temperatures, with ``aside`` kept for something else."""
        fixed = reverse_gradients(0) + stiffness_gradients() if self.check else 0
        return self.cap - self.meter.passes.total / 2 - smc.gradients() * self.samples - fixed - aside

    def per_temperature(self, moves: int) -> float:
        """Gradients of one temperature of eight runs in both directions."""
        backwards = reverse_gradients(1) - reverse_gradients(0) if self.check else 0
        return smc.RUNS * smc.PARTICLES * smc.gradients(moves) + backwards

    def pilot(self, aside: float = 0) -> int:
        """The most temperatures that a pilot may take, so that one is left for the runs."""
        left, one = self.left(aside), smc.gradients() * smc.PILOT
        return int(min(PILOT_SHARE * left, left - self.per_temperature(smc.MOVES)) / one)


def estimate(path: Path, data: Tensor, starts: Tensor | None, budget: Budget, rng: Rng) -> Estimate:
    """Finds log Z on ``path``; ``data (n, d)`` start a reverse run, ``starts (s, d)`` ascents of the probe.

    Raises:
        NotFinite: the energy is infinite or NaN at a particle.
        ValueError: the cap does not pay for one temperature.
    """
    path, pilot, modes = _prepare(path, starts, budget, rng)
    most = int(budget.left() / budget.per_temperature(smc.MOVES))
    schedule = pilot.schedule.thin(most)
    every: list[smc.Runs] = []
    back: list[Tensor] = []
    for moves in ROUNDS:
        if every and budget.left() < budget.per_temperature(moves) * len(schedule.betas):
            break
        every.append(smc.run(path, schedule, rng, moves=moves))
        runs = smc.Runs.joined(every)
        if budget.check:
            back.append(reverse(path, schedule, runs, data, rng))
        backwards = Reverse.of(torch.cat(back, -1)) if back else None
        found, unsettled = _judged(path, schedule, runs, backwards, modes, budget)
        if not unsettled or not budget.check or not schedule.complete:
            break
    return _refused_where_stiff(found, data, rng) if budget.check else found


def _refused_where_stiff(found: Estimate, data: Tensor, rng: Rng) -> Estimate:
    """The estimate, doubted if moves are refused wherever they start at many of the ``data (n, d)``."""
    share = too_stiff(found.path, data, found.schedule.steps[-1], rng)
    text = f"at a share {share:.2g} of the data the energy is too stiff for the sampler's step"
    return replace(found, reasons=(*found.reasons, text)) if share > MOST_STIFF else found


def _prepare(
    path: Path, starts: Tensor | None, budget: Budget, rng: Rng
) -> tuple[Path, smc.Pilot, Modes | None]:
    """The pilot, and the path from a base with the modes that the first one missed."""
    aside = probe_gradients(path.base.means.shape[-1]) if budget.check else 0
    if (most := budget.pilot(aside)) < 1:
        one, per = smc.gradients() * smc.PILOT, budget.per_temperature(smc.MOVES)
        least = budget.cap - budget.left(aside) + max(one / PILOT_SHARE, per + one)
        text = f"max_gradients = {budget.cap:.0f}: {budget.samples} samples need at least {least:.0f}"
        raise ValueError(text)
    pilot = smc.pilot(path, rng, most)
    if not budget.check:
        return path, pilot, None
    modes = probe(path, pilot, starts, rng)
    if not len(modes.means) or (most := budget.pilot()) < 1:
        return path, pilot, modes
    path = path.from_base(path.base.with_modes(modes.means, modes.trils))
    return path, smc.pilot(path, rng, most), modes


def _judged(
    path: Path,
    schedule: smc.Schedule,
    runs: smc.Runs,
    back: Reverse | None,
    modes: Modes | None,
    budget: Budget,
) -> tuple[Estimate, bool]:
    """The estimate with its doubts, and whether more runs or moves may settle them."""
    value, se = log_mean(runs.log_z)
    error = max(se, abs(back.gap(value)) / 2) if back else se
    above, below = back.doubts(value, se) if back else ([], [])
    spread = runs.log_z.std().item()
    reasons = [*_forward_doubts(schedule, runs, modes, budget), *above, *below]
    if error > MOST_SD >= spread:
        # Runs backwards that scatter as much say nothing of the others.
        reasons.append(f"the standard error is {error:.2g}, more than {MOST_SD:g}")
    found = Estimate(
        path=path,
        schedule=schedule,
        runs=runs,
        value=value,
        se=error,
        reverse=back.values if back else (),
        reasons=tuple(reasons),
    )
    # A run backwards that lies below started from something else than the model: work does not close that.
    short = (max(back.values) - value) / 2 if back else 0.0
    return found, spread > MOST_SD or bool(above) or max(se, short) > ENOUGH_SE


def _forward_doubts(
    schedule: smc.Schedule, runs: smc.Runs, modes: Modes | None, budget: Budget
) -> Iterator[str]:
    """What speaks against the forward runs."""
    if not schedule.complete:
        left = len(schedule.betas)
        yield f"the cap of {budget.cap:.0f} gradients leaves only {left} temperatures"
    if (spread := runs.log_z.std().item()) > MOST_SD:
        yield f"log Z varies between runs by sd = {spread:.3g}, more than {MOST_SD:g}"
    if (least := runs.acceptance.min().item()) < LEAST_ACCEPTANCE:
        yield f"the smallest acceptance is {least:.2g}, less than {LEAST_ACCEPTANCE:g}"
    if modes is not None and modes.missed.any() and (share := _share(runs, modes[modes.missed])) > OUTSIDE:
        yield f"the probe found mass outside the base, a share {share:.2g} of the model's"


def _share(runs: smc.Runs, modes: Modes) -> float:
    """The share of the particles' weight that lies in ``modes``."""
    w = runs.log_w.flatten().softmax(-1)
    inside = modes.inside(runs.z.flatten(0, 1)).any(0)
    return torch.where(inside, w, 0).sum().item()
