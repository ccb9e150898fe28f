"""Where the command line writes: text for a person, or one JSON document on standard output."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


def put(line: str, out: TextIO, end: str = "\n") -> None:
    """Prints a line; nothing once whoever reads has gone: a closed pipe or terminal must not end a run."""
    try:
        print(line, file=out, end=end, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


class Terminal:
    """A terminal for rich, which would raise in whatever thread draws next once it is closed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.encoding = out.encoding

    def isatty(self) -> bool:
        """Whether lines can be redrawn: yes, also when nobody sees them any more."""
        return True

    def write(self, text: str) -> int:
        """Shows text at once."""
        put(text, self._out, end="")
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


class Console:
    """Standard output that nobody else can write to.

    Ray prints notices of dying workers on standard output whatever it is asked; ``protect`` keeps a
    descriptor of our own and sends everything else that is written there to standard error.

    Args:
        as_json: one JSON document goes to standard output and every other word to standard error.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out: TextIO = sys.stdout

    def protect(self) -> None:
        """From now on only this console writes to standard output."""
        sys.stdout.flush()
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        os.dup2(2, 1)

    @property
    def text(self) -> TextIO:
        """Where words for a person go."""
        return sys.stderr if self.as_json else self._out

    def say(self, line: str = "") -> None:
        """A line for a person."""
        put(line, self.text)

    def document(self, document: Any) -> None:
        """The JSON document; nothing unless it is asked for."""
        if self.as_json:
            put(json.dumps(document, indent=2, default=str, allow_nan=False), self._out)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Aligned columns under their names; the last one is cut where a terminal is too narrow."""
        cells = [[str(row.get(column, "")) for column in columns] for row in rows]
        widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
        limit = os.get_terminal_size(self.text.fileno()).columns if self.text.isatty() else None
        for line in [[column.upper() for column in columns], *cells]:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            self.say(text[:limit])
