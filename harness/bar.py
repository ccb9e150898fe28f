"""A line that says how far something long is: text alone, redrawn in a terminal and in a notebook."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO, TypeVar

from ebmark.console import put

WIDTH = 20
EVERY = 0.2  # seconds between two drawings
T = TypeVar("T")


def live(out: TextIO) -> bool:
    """Whether a line on ``out`` can be written over: a terminal, or the output of a notebook's cell."""
    return out.isatty() or type(out).__module__.startswith("ipykernel")


class Bar:
    """One line of progress with the time left; nothing at all where it could not be redrawn.

    Args:
        label: what goes on.
        out: where to write, by default standard error.
        shown: False for no line at all, True for one even where it cannot be redrawn.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        label: str,
        *,
        out: TextIO | None = None,
        shown: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.out, self._clock = label, out or sys.stderr, clock
        self._shown = live(self.out) if shown is None else shown
        self._begin = clock()
        self._next = self._begin + EVERY  # what is over at once needs no line
        self._length = 0

    def show(self, share: float, text: str = "") -> None:
        """A share of the whole, 0 to 1, is done."""
        now = self._clock()
        if not self._shown or now < self._next:
            return
        self._next = now + EVERY
        left = (now - self._begin) * (1 - share) / share if share else 0.0
        marks = round(WIDTH * share)
        parts = [self.label, "#" * marks + "." * (WIDTH - marks), f"{share:4.0%}", text]
        self._write("  ".join([*filter(None, parts), f"{left:.0f} s left" if left else ""]).rstrip())

    def over(self, items: Sequence[T]) -> Iterator[T]:
        """The items one after the other, each of them an equal share."""
        for i, item in enumerate(items):
            self.show(i / len(items), f"{i} of {len(items)}")
            yield item
        self.close()

    def close(self) -> None:
        """Clears the line."""
        if self._length:
            self._write("")
            put("\r", self.out, end="")

    def _write(self, line: str) -> None:
        put(f"\r{line:<{self._length}}", self.out, end="")
        self._length = len(line)


class OneLine(io.TextIOBase):
    """A stream in which a line is written over by the next; those that matter stay.

    Args:
        out: the output of a notebook's cell.
        passing: what a line begins with that need not stay.
    """

    def __init__(self, out: TextIO, passing: str = r"\[\d+/\d+\] (ok|skipped) ") -> None:
        self._out, self._passing = out, re.compile(passing)
        self._part, self._length = "", 0

    def write(self, text: str) -> int:
        """Takes text; whole lines are shown."""
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            passes = self._passing.match(line) is not None
            print(f"\r{line:<{self._length}}", end="" if passes else "\n", file=self._out, flush=True)
            self._length = len(line) if passes else 0
        return len(text)

    def end(self) -> None:
        """The line that is shown stays."""
        if self._length:
            print(file=self._out, flush=True)
