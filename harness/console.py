"""Where the command line writes: text for a person, or one JSON document on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


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
        print(line, file=self.text, flush=True)

    def document(self, document: Any) -> None:
        """The JSON document; nothing unless it is asked for."""
        if self.as_json:
            print(json.dumps(document, indent=2, default=str, allow_nan=False), file=self._out, flush=True)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Aligned columns under their names; the last one is cut where a terminal is too narrow."""
        cells = [[str(row.get(column, "")) for column in columns] for row in rows]
        widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
        limit = os.get_terminal_size(self.text.fileno()).columns if self.text.isatty() else None
        for line in [[column.upper() for column in columns], *cells]:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            self.say(text[:limit])
