"""What a run shows while it goes on: a live line in a terminal, plain lines in a pipe, a file for others."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

from ebmark.errors import EbmarkError
from ebmark.locations import Location
from ebmark.pace import Pace, kind_of
from ebmark.record import Record, Row
from ebmark.report.words import counted
from ebmark.runfile import remove_run, write_run
from ebmark.runners import Node
from ebmark.showing import Lines, described, duration, labels

EVERY = 2.0  # seconds between two writings of the file
WINDOW = 60.0  # seconds over which the rate is taken
SLOWEST = 5  # trials that the file names
_OVERHEAD = 30.0  # seconds that a run's measured overhead is averaged with


class Progress:
    """Counts finished trials and says what is left; a context manager.

    Args:
        left: by id of each trial to run, the seconds that it is expected to add to the wall-clock.
        done: trials that were there before.
        slots: trials side by side.
        out: where to write; a terminal gets one line that is redrawn and a line per failure.
        kinds: by id, trials whose forecasts are wrong by much the same factor.
        later: seconds expected of trials that will follow from the results of these.
        nodes: where trials run now.
        folder: of the results, for ``running.json``; None writes none.

    Attributes:
        quiet: nothing is shown or written but when a trial ends: the one that runs is timed.
    """

    def __init__(
        self,
        *,
        left: Mapping[str, float],
        done: int,
        slots: int,
        out: TextIO,
        kinds: Mapping[str, Hashable] | None = None,
        later: float = 0.0,
        nodes: Callable[[], Sequence[Node]] = tuple,
        folder: Location | None = None,
    ) -> None:
        self.total, self.before, self.slots = len(left), done, slots
        self.counts: Counter[str] = Counter()
        self.left = dict(left)
        self.quiet = False
        self._later, self._nodes, self._folder = later, nodes, folder
        self._pace = Pace()
        for id, seconds in left.items():
            self._pace.plan(kinds.get(id) if kinds else None, seconds)
        self._kinds = bool(kinds)
        self._spent = 0.0  # what finished trials have added to the wall-clock, without what lay between them
        self._slowest: list[tuple[float, int, str, str]] = []
        self._begin = time.monotonic()
        self._recent = deque([(self._begin, 0)])
        self._lines = Lines(out, live=bool(self.total))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        side_by_side = f"{self.slots} at a time" if self.slots > 1 else "one at a time"
        self._lines.begin(f"{counted(self.total, 'trial')} to run, {side_by_side}; {self.before} done before")
        self._begin = time.monotonic()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._ticker.join()
        self._lines.end(self.summary)
        if self._folder is not None:
            with suppress(OSError):
                remove_run(self._folder)

    @property
    def finished(self) -> int:
        """Trials finished in this run."""
        return self.counts.total()

    @property
    def seconds_left(self) -> float:
        """What the rest is expected to take, at the pace of what has finished."""
        running = self._under_way()
        spent, begun = sum(share for share, _ in running), sum(min(one) for one in running)
        # A worker starts slowly, which says nothing of its trials; a trial that overruns by more does.
        late = [max((share - _OVERHEAD) / expected, 1.0) for share, expected in running if expected > 0]
        elapsed = time.monotonic() - self._begin
        overhead = (elapsed + _OVERHEAD) / (self._spent + spent + _OVERHEAD)
        return (max(self._pace.left(late) - begun, 0.0) + self._later) * min(max(overhead, 1.0), 2.0)

    def _under_way(self) -> list[tuple[float, float]]:
        """Of each that runs now the seconds of wall-clock that went into it, and those expected of it."""
        found = []
        for one in (running for node in self._nodes() for running in node.running):
            side_by_side = 1 if one.jobs[0].trial.lane == "cost" else self.slots
            expected = sum(self.left.get(job.trial.id, 0.0) for job in one.jobs)
            found.append((one.seconds / side_by_side, expected))
        return found

    def extend(self, more: Mapping[str, float], kinds: Mapping[str, Hashable] | None = None) -> None:
        """More trials follow from the results so far, with what each should add to the wall-clock."""
        with self._lock:
            self._later = 0.0
            self.total += len(more)
            self.left |= more
            for id, seconds in more.items():
                self._pace.plan(kinds.get(id) if kinds and self._kinds else None, seconds)
        if more:
            self._lines.say(f"{len(more)} more trials at the chosen rates")

    def add(self, record: Record) -> None:
        """One more trial has finished."""
        row = record.trial
        with self._lock:
            self.counts[row["status"]] += 1
            expected = self.left.pop(row["id"], 0.0)
            seconds = (row["finished"] - row["started"]).total_seconds() / (row.get("together") or 1)
            spent = seconds / (1 if row["lane"] == "cost" else self.slots)
            self._pace.ended(kind_of(row) if self._kinds else None, expected, spent)
            self._spent += spent
            slow = (seconds, self.finished, row["id"], described(row))
            keep = heapq.heappush if len(self._slowest) < SLOWEST else heapq.heappushpop
            keep(self._slowest, slow)
        failed = row["status"] not in ("ok", "skipped")
        self._lines.trial(lambda: self._line(row), self.summary, failed=failed)
        if self.quiet:
            self._write()

    def _line(self, row: Row) -> str:
        what = f"{row['status']:<8} {described(row)}" + (f": {row['reason']}" if row["reason"] else "")
        return f"[{self.finished}/{self.total}] {what}{self._time_left()}"

    def _time_left(self) -> str:
        seconds = self.seconds_left if self.finished < self.total else 0
        return f" (about {duration(seconds)} left)" if seconds >= 1 else ""

    def summary(self) -> str:
        """Counts, rate and what runs longest, in one line."""
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items())) or "none ended yet"
        running = [one for node in self._nodes() for one in node.running]
        longest = max(running, key=lambda one: one.seconds, default=None)
        rate = f"; {self.rate():.3g} a second" if self.counts else ""
        what = f"; {len(running)} running, the longest for {duration(longest.seconds)}" if longest else ""
        return f"[{self.finished}/{self.total}] {counts}{rate}{what}{self._time_left()}"

    def rate(self) -> float:
        """Trials that end in a second, over the last minute."""
        now = time.monotonic()
        begin, before = self._recent[0]
        return (self.finished - before) / max(now - begin, 1e-9)

    def _tick(self) -> None:
        while not self._over.wait(EVERY):
            if self.quiet:
                continue
            with suppress(RuntimeError):  # what runs changed while it was looked at: the next look will do
                self._lines.heartbeat(self.summary)
                self._write()

    def _write(self) -> None:
        now = time.monotonic()
        self._recent.append((now, self.finished))
        while len(self._recent) > 2 and self._recent[1][0] < now - WINDOW:
            self._recent.popleft()
        if self._folder is not None:
            with suppress(EbmarkError):  # a disk that is full is told by who stores the records
                write_run(self._folder, self.state())

    def state(self) -> dict[str, Any]:
        """Everything, as ``ebmark status`` shows it."""
        nodes = self._nodes()
        with self._lock:
            slowest = [
                {"id": id, "what": what, "seconds": seconds}
                for seconds, _, id, what in sorted(self._slowest, reverse=True)
            ]
        return {
            "counts": dict(self.counts),
            "finished": self.finished,
            "total": self.total,
            "seconds": time.monotonic() - self._begin,
            "seconds_left": self.seconds_left,
            "rate": self.rate(),
            "nodes": [
                {
                    "node": node.name,
                    "slots": node.slots,
                    "running": len(node.running),
                    "finished": node.finished,
                }
                for node in nodes
            ],
            "running": [
                {
                    "id": job.trial.id,
                    "what": described(labels(job.trial)),
                    "node": node.name,
                    "seconds": one.seconds,
                    "attempt": job.attempt,
                }
                for node in nodes
                for one in node.running
                for job in one.jobs
            ],
            "slowest": slowest,
        }
