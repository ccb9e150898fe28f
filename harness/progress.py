"""What a run shows while it goes on: a live line in a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from ebmark.record import Record

_PRIOR = 3.0  # seconds of work at the expected pace that the measured pace is averaged with


class Progress:
    """Counts finished trials and says what is left.

    Args:
        left: by id of each trial to run, the seconds that it is expected to add to the wall-clock.
        done: trials that were there before.
        slots: trials side by side.
        out: where to write; a terminal gets one line that is redrawn and a line per failure.
    """

    def __init__(self, *, left: Mapping[str, float], done: int, slots: int, out: TextIO) -> None:
        self.total, self.before, self.slots, self.out = len(left), done, slots, out
        self.counts: Counter[str] = Counter()
        self.left = dict(left)
        self._sum = sum(
            left.values()
        )  # of what is left: adding it up at each record is too slow for a million
        self._spent = self._expected = 0.0
        self._live: Any = None

    def __enter__(self) -> Self:
        side_by_side = f"{self.slots} at a time" if self.slots > 1 else "one at a time"
        print(
            f"{self.total} trials to run, {side_by_side}; {self.before} done before",
            file=self.out,
            flush=True,
        )
        if self.out.isatty() and self.total:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self.out), refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def finished(self) -> int:
        """Trials finished in this run."""
        return self.counts.total()

    @property
    def seconds_left(self) -> float:
        """What the rest is expected to take, at the pace of what has finished."""
        return paced(max(self._sum, 0.0), self._spent, self._expected)

    def extend(self, more: Mapping[str, float]) -> None:
        """More trials follow from the results so far, with what each should add to the wall-clock."""
        self.total += len(more)
        self.left |= more
        self._sum += sum(more.values())
        if more and self._live is None:
            print(f"{len(more)} more trials at the chosen rates", file=self.out, flush=True)

    def add(self, record: Record) -> None:
        """One more trial has finished."""
        row = record.trial
        self.counts[row["status"]] += 1
        expected = self.left.pop(row["id"], 0.0)
        self._sum -= expected
        self._expected += expected
        side_by_side = 1 if row["lane"] == "cost" else self.slots
        self._spent += (row["finished"] - row["started"]).total_seconds() / side_by_side
        line = self._line(row)
        if self._live is None:
            print(line, file=self.out, flush=True)
            return
        from rich.text import Text

        if row["status"] not in ("ok", "skipped"):
            self._live.console.print(line, markup=False, highlight=False)
        self._live.update(Text(line))  # not markup: a label such as cd[k=10] would lose its brackets

    def _line(self, row: Any) -> str:
        where = f"{row['method_label']} on {row['dataset_label']} d={row['dim']} seed {row['seed']}"
        lane = f" (cost {row['repeat'] + 1})" if row["lane"] == "cost" else ""
        lane = f" (tune, rate x {row['rate_factor']:.3g})" if row["lane"] == "tune" else lane
        reason = f": {row['reason']}" if row["reason"] else ""
        seconds = self.seconds_left
        left = f", about {duration(seconds)} left" if self.finished < self.total and seconds else ""
        return f"[{self.finished}/{self.total}] {row['status']:<8} {where}{lane}{reason}{left}"


def paced(left: float, spent: float, expected: float) -> float:
    """Expected seconds ``left`` where ``spent`` seconds were spent on what was ``expected`` to take so many.

    The first few seconds say little of the pace.
    """
    return left * (spent + _PRIOR) / (expected + _PRIOR)


def duration(seconds: float) -> str:
    """Two digits that a person reads: 42 s, 3 min 10 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
