"""Whether a wall-clock time may be compared: what the operating system and the GPU's driver know about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Self

from ebmark import env, readings
from ebmark.readings import Board, Reading

# The thresholds lie between what one-threaded matrix products showed on two cores. One process per core
# waited 0.2 to 0.6 % of the time for a core and used 0.994 to 0.997 CPU seconds per second; two per core
# waited 49 to 52 % and used 0.48 to 0.51, four per core 72 to 75 %, with 262 to 326 involuntary switches per
# CPU second. Waiting for a disk or for memory lowers the CPU seconds but is no delay.
MAX_DELAY = 0.05  # share of the time spent waiting for a core
MIN_CPU = 0.9  # CPU seconds per second
MAX_SWITCHES = 50.0  # involuntary, per CPU second
# A busy process takes a whole core, or half of the trial's; a local Ray and the driver took 0.03 to 0.06, and
# 0.25 over the two seconds in which the driver first wrote.
MAX_OTHERS = 0.4  # cores that other processes used
MAX_STEAL = 0.05  # cores that a hypervisor kept for itself; 0.00 to 0.02 on a shared virtual machine
MIN_CLOCK = 0.9  # of the processor's base frequency
# Trials of the quality lane load every core, and the average remembers them for a minute.
SPARE_LOAD = 1.0  # load average above the number of cores

CLOSE = "close them, or run when the machine is idle"
REASONS: Mapping[str, tuple[str, str]] = {
    "not alone on its device": (
        "other trials of the study ran beside it: those of the quality lane always do",
        "compare seconds per step from the cost lane: `[cost]` in the study",
    ),
    "trained together": (
        "several seeds were one program, whose seconds are nobody's own",
        "compare seconds per step from the cost lane, whose trials are always alone",
    ),
    "continued after": (
        "it was interrupted and went on from its saved state, perhaps on another machine",
        "compare seconds per step from the cost lane, which is never continued",
    ),
    "waited for a core": (
        f"the trial was ready and had no core for more than {MAX_DELAY:.0%} of the time",
        "close what else computes, or run fewer trials at a time with `--jobs N`",
    ),
    "CPU seconds per second": (
        f"it used its core for less than {MIN_CPU:.0%} of the time: it waited for a disk, memory or a core",
        "write results to a local disk with `-o DIR`, free memory, close what else computes",
    ),
    "involuntary switches": (
        f"the kernel took its core away more than {MAX_SWITCHES:g} times per CPU second, its caches too",
        "close what else computes",
    ),
    "other processes used": (
        f"they kept more than {MAX_OTHERS:g} cores busy: they share caches, memory and the clock's frequency",
        "`top` names them; " + CLOSE,
    ),
    "the hypervisor took": (
        "this is a virtual machine, and its host had other work for the core",
        "take a machine of your own, or repeat at another hour",
    ),
    "load average": (
        "before the trial more was running than the machine has cores",
        "wait a minute after heavy work, then run the same command again",
    ),
    "below its base frequency": (
        "the processor lowered its clock, by heat or a power setting",
        "`cpupower frequency-set -g performance`, and see to the cooling",
    ),
    "throttled": (
        "the processor or the GPU lowered its clock, by heat or at its power limit",
        "see to the cooling; lock the GPU's clock with `nvidia-smi -lgc`",
    ),
    "other processes on the GPU": (
        "they share its memory and its units",
        "`nvidia-smi` names them; " + CLOSE,
    ),
    "threads in use": (
        "the trial ran with another number of threads than its study asks for",
        "remove OMP_NUM_THREADS and its like from the environment of the workers",
    ),
}


class Watch:
    """Watches one trial; a context manager, entered and left by the same thread.

    Args:
        device: torch's name of the device that the trial uses.

    Attributes:
        spent: what happened inside.
        load: load average over one minute at the start, NaN where unknown.
        clock: the fastest core's frequency at the end over its base frequency, NaN where unknown.
        board: the GPU at the end, None without one or where its driver does not tell.
        peak_memory: peak resident set in bytes; where the kernel cannot reset the peak, that of the whole
            process so far. On a GPU the peak of torch's allocator.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.spent = Reading(**{f.name: math.nan for f in fields(Reading)})
        self.load = self.clock = math.nan
        self.board: Board | None = None
        self.peak_memory = 0

    def __enter__(self) -> Self:
        readings.reset_peak(self.device)
        self.load = readings.load()
        self._begin = Reading.now()
        return self

    def __exit__(self, *_: object) -> None:
        self.spent = Reading.now() - self._begin
        self.clock = readings.clock()
        self.board = readings.board(self.device)
        self.peak_memory = readings.peak_memory(self.device)

    def verdict(self, *, exclusive: bool, threads_asked: int, threads: int) -> tuple[bool, str]:
        """Whether the wall-clock may be compared, and why not (reasons joined by ``; ``).

        Args:
            exclusive: nothing else of the benchmark ran on this machine or device meanwhile.
            threads_asked: threads that the study asks for.
            threads: threads that were in use.
        """
        reasons = [] if exclusive else ["not alone on its device"]
        reasons += self._crowded()
        reasons += self._slowed()
        if threads != threads_asked:
            reasons.append(f"{threads} threads in use, {threads_asked} asked for")
        return not reasons, "; ".join(reasons)

    # Every comparison is False for NaN: what is unknown is no reason.

    def _crowded(self) -> Iterator[str]:
        """Others on the same cores or the same GPU."""
        spent, cores = self.spent, env.cores()
        wall = spent.wall
        if spent.delay > MAX_DELAY * wall:
            yield f"waited for a core {spent.delay / wall:.0%} of the time, allowed {MAX_DELAY:.0%}"
        if spent.cpu < MIN_CPU * wall:
            yield f"{spent.cpu / wall:.2f} CPU seconds per second, at least {MIN_CPU} expected"
        if spent.switches > MAX_SWITCHES * spent.cpu:
            rate = spent.switches / spent.cpu
            yield f"{rate:.0f} involuntary switches per CPU second, allowed {MAX_SWITCHES:g}"
        others = (spent.busy - spent.cpu) / wall
        if others > MAX_OTHERS:
            yield f"other processes used {others:.2f} cores, allowed {MAX_OTHERS:g}"
        if self.load > cores + SPARE_LOAD:
            yield f"load average {self.load:.1f} on {cores} cores at the start"
        if self.board and self.board.others:
            yield f"{self.board.others} other processes on the GPU"

    def _slowed(self) -> Iterator[str]:
        """Less of a core or of its clock than there should be."""
        if self.spent.steal > MAX_STEAL * self.spent.wall:
            yield f"the hypervisor took {self.spent.steal / self.spent.wall:.2f} cores, allowed {MAX_STEAL:g}"
        if self.spent.heat > 0:
            yield "the processor was throttled by heat"
        if self.clock < MIN_CLOCK:
            yield f"the processor ran at {self.clock:.0%}, below its base frequency"
        if self.board and self.board.throttles:
            yield f"the GPU was throttled: {', '.join(self.board.throttles)}"
