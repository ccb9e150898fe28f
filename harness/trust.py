"""Whether a wall-clock time may be compared: what the operating system knows about it."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Self

MAX_DELAY = 0.05
MIN_CPU = 0.9


class Watch:
    """Watches one trial; a context manager, entered and left by the same thread.

    The thresholds lie between what one-threaded matrix products showed on two cores: one process per core
    waited 0.2 to 0.6 % of the time for a core and used 0.994 to 0.997 CPU seconds per second; two per core
    waited 49 to 52 % and used 0.48 to 0.51. Waiting for a disk or for memory lowers the CPU seconds but is
    no delay.

    Attributes:
        wall: seconds inside.
        cpu: CPU seconds of all threads of the process.
        switches: involuntary context switches of the process.
        delay: seconds that the calling thread was ready to run and had no core; NaN where unknown. Other
            threads are not seen: with several threads it is a lower bound.
        load: load average over one minute at the start, NaN where unknown.
        peak_memory: peak resident set in bytes; where the kernel cannot reset the peak, that of the whole
            process so far.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = self.delay = self.load = math.nan
        self.switches = self.peak_memory = 0

    def __enter__(self) -> Self:
        _reset_peak()
        self.load = _load()
        self._begin = (time.perf_counter(), time.process_time(), _switches(), _delay())
        return self

    def __exit__(self, *_: object) -> None:
        end = (time.perf_counter(), time.process_time(), _switches(), _delay())
        differences = (after - before for before, after in zip(self._begin, end, strict=True))
        self.wall, self.cpu, switches, self.delay = differences
        self.switches = int(switches)
        self.peak_memory = _peak_memory()

    def verdict(self, *, exclusive: bool, threads_asked: int, threads: int) -> tuple[bool, str]:
        """Whether the wall-clock may be compared, and why not (reasons joined by ``; ``).

        Args:
            exclusive: nothing else of the benchmark ran on this machine or device meanwhile.
            threads_asked: threads that the study asks for.
            threads: threads that were in use.
        """
        reasons = []
        if not exclusive:
            reasons.append("not alone on its device")
        if self.delay > MAX_DELAY * self.wall:  # False for NaN: unknown is not contended
            reasons.append(
                f"waited for a core {self.delay / self.wall:.0%} of the time, allowed {MAX_DELAY:.0%}"
            )
        if self.cpu < MIN_CPU * self.wall:
            reasons.append(f"{self.cpu / self.wall:.2f} CPU seconds per second, at least {MIN_CPU} expected")
        if threads != threads_asked:
            reasons.append(f"{threads} threads in use, {threads_asked} asked for")
        return not reasons, "; ".join(reasons)


def _delay() -> float:
    """Run-queue delay of the calling thread in seconds: second field of schedstat, nanoseconds."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) * 1e-9
    except (OSError, IndexError, ValueError):
        return math.nan


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        return math.nan


def _reset_peak() -> None:
    """Workers are used again: the peak of an earlier trial must not count (Linux: 5 resets VmHWM)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory() -> int:
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
