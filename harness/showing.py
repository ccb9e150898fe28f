"""Lines of a run on a terminal or in a log: as many as a person reads, and always those of failures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, TextIO, cast

from ebmark import registry
from ebmark.console import Terminal, put
from ebmark.record import Row
from ebmark.trial import Trial

BURST = 100  # lines of trials that may come at once
REFILL = 1.0  # and so many a second in the long run
SUMMARY = 5.0  # seconds between two summaries where lines are left out
SILENCE = 60.0  # seconds without a line after which a log gets a sign of life


class Lines:
    """One line per trial while they come slowly, a summary every few seconds where they do not.

    Args:
        out: a terminal gets one line that is redrawn.
        live: whether there is anything to redraw.
    """

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out, self._wanted = out, live and out.isatty()
        self._live: Any = None
        self._room, self._left_out = float(BURST), 0
        self._refilled = self._said = self._summed = time.monotonic()
        self._lock = threading.Lock()

    def begin(self, line: str) -> None:
        """The first line."""
        self._print(line)
        if self._wanted:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=cast(IO[str], Terminal(self._out)))
            self._live = Live(console=console, refresh_per_second=4, transient=True)
            self._live.start()

    def end(self, summary: Callable[[], str]) -> None:
        """Nothing follows; trials that got no line of their own are in the last summary."""
        if self._live is not None:
            self._live.stop()
        elif self._left_out:
            self._print(summary())

    def say(self, line: str) -> None:
        """A line in a log."""
        if self._live is None:
            self._print(line)

    def trial(self, line: Callable[[], str], summary: Callable[[], str], *, failed: bool) -> None:
        """A trial has ended."""
        with self._lock:
            if self._live is not None:
                self._redraw(line, failed=failed)
            elif failed or self._has_room():
                self._print(line())
            else:
                self._left_out += 1
                if time.monotonic() > self._summed + SUMMARY:
                    self._summarise(summary)

    def heartbeat(self, summary: Callable[[], str]) -> None:
        """From time to time: a log in which nothing happens says that the run is alive."""
        with self._lock:
            now = time.monotonic()
            if self._live is not None:
                from rich.text import Text

                self._live.update(Text(summary()))
            elif now > self._said + SILENCE or (self._left_out and now > self._summed + SUMMARY):
                self._summarise(summary)

    def _redraw(self, line: Callable[[], str], *, failed: bool) -> None:
        from rich.text import Text

        now = time.monotonic()
        if failed:
            self._live.console.print(line(), markup=False, highlight=False)
        if now > self._said + 0.1:  # the eye sees no more
            self._live.update(Text(line()))  # not markup: a label such as cd[k=10] would lose its brackets
            self._said = now

    def _has_room(self) -> bool:
        now = time.monotonic()
        self._room = min(BURST, self._room + REFILL * (now - self._refilled))
        self._refilled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _summarise(self, summary: Callable[[], str]) -> None:
        self._print(summary())
        self._left_out, self._summed = 0, time.monotonic()

    def _print(self, line: str) -> None:
        with suppress(OSError):  # a log whose disk is full must not end a run
            put(line, self._out)
        self._said = time.monotonic()


def labels(trial: Trial) -> Row:
    """Of the columns of a trial those that describe it."""
    return {
        "method_label": registry.label(trial.method),
        "dataset_label": registry.label(trial.dataset),
        "dim": json.loads(trial.dataset.args).get("dim"),
        "seed": trial.seed,
        "lane": trial.lane,
        "repeat": trial.repeat,
        "rate_factor": trial.factor,
    }


def described(row: Row) -> str:
    """A trial in words, from its row."""
    lane, factor = "", row["rate_factor"] if row["lane"] == "tune" else None
    if row["lane"] == "cost":
        lane = f" (cost {row['repeat'] + 1})"
    elif factor is not None:
        lane = f" (tune, rate x {factor:.3g})"
    dim = "" if row["dim"] is None else f" d={row['dim']}"  # not known before the data set is made
    return f"{row['method_label']} on {row['dataset_label']}{dim} seed {row['seed']}{lane}"


def duration(seconds: float) -> str:
    """Two digits that a person reads: 42 s, 3 min 10 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s" if seconds < 600 else f"{round(seconds / 60)} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
