"""A table for print as a value, and how its numbers are written for siunitx's S columns."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ebmark.report.grid import escape

DAGGERS = {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}"}
WIDE = "n"  # as wide as any letter of a note but m and w: what a column keeps free for each
PLACES = 4  # digits behind the point, at most; beyond, a column has a power of ten


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cell: a number with its standard error, or ``text``, and its marks.

    Attributes:
        value: NaN where there is no number.
        se: NaN where there is none.
        text: stands in the place of a number, and is escaped.
        bold: best, or not told from it.
        marks: superscripts behind it: †, ‡, § and the letters of the notes.
    """

    value: float = math.nan
    se: float = math.nan
    text: str = ""
    bold: bool = False
    marks: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column under ``title``, and under ``group`` together with its neighbours of the same group."""

    title: str
    group: str = ""
    entries: Sequence[Entry] = ()


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table for print: what it shows, its rows' names and its columns, and sentences under it.

    Attributes:
        name: of its file and label.
        caption: sentences, not escaped yet.
        rows: names of the rows.
        columns: of numbers.
        notes: what the letters stand for, by letter.
    """

    name: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[Column]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Format:
    """How the numbers of a column are written: times 10^power, and the digits kept free for them."""

    power: int
    whole: int
    places: int
    error: int
    minus: bool

    @classmethod
    def of(cls, column: Column) -> Format:
        """The format that the numbers of a column need."""
        known = sorted(
            abs(entry.value) for entry in column.entries if math.isfinite(entry.value) and entry.value
        )
        middle = known[len(known) // 2] if known else 1.0
        power = math.floor(math.log10(middle)) if not 0.01 <= middle < 1e4 else 0
        bare = cls(power=power, whole=1, places=0, error=0, minus=False)
        texts = [bare.number(entry) for entry in column.entries if bare.aligned(entry)]
        places = max((len(text.partition(".")[2]) for text, _ in texts), default=0)
        errors = [error for _, error in texts if error]
        digits = max((len(error.replace(".", "").lstrip("0")) for error in errors), default=0)
        ahead = max((len(error.split(".")[0]) for error in errors), default=0)  # of the point
        return cls(
            power=power,
            whole=max((len(text.lstrip("-").split(".")[0]) for text, _ in texts), default=1),
            places=places,
            error=max(digits, places + ahead) if ahead > 1 else digits,
            minus=any(text.startswith("-") for text, _ in texts),
        )

    def spec(self, column: Column) -> str:
        """The column's type in the head of the tabular."""
        error = f"({self.error})" if self.error else ""
        form = f"{'-' * self.minus}{self.whole}.{self.places}{error}"
        longest = max((entry.marks for entry in column.entries if self.aligned(entry)), key=len, default="")
        post = f"{{{superscripts(re.sub('[a-z]', WIDE, longest))}}}" if longest else ""
        return f"S[table-format={{{form}{post}}}]"

    def aligned(self, entry: Entry) -> bool:
        """Whether the entry is a number that the column's digits can show."""
        if not math.isfinite(entry.value):
            return False
        size = abs(entry.value) / 10.0**self.power
        return size == 0 or 10.0 ** (1 - PLACES) <= size < 1e5

    def _places(self, entry: Entry) -> int:
        """Digits behind the point: two of the standard error where it begins with 1 or 2, else one."""
        size, spread = (abs(x) / 10.0**self.power for x in (entry.value, entry.se))
        if not has_error(entry):
            return min(max(0, 2 - math.floor(math.log10(size))), PLACES) if size else 0
        first = math.floor(math.log10(spread))
        return min(max(0, -first + (float(f"{spread:.1e}") < 3 * 10.0**first)), PLACES)

    def number(self, entry: Entry) -> tuple[str, str]:
        """The value and its standard error as text; the second is empty where there is none."""
        places = self._places(entry)
        value = f"{entry.value / 10.0**self.power + 0.0:.{places}f}"
        return value, f"{entry.se / 10.0**self.power:.{places}f}" if has_error(entry) else ""

    def cell(self, entry: Entry) -> str:
        """The entry as LaTeX."""
        bold, marks = r"\bfseries " * entry.bold, superscripts(entry.marks)
        if not self.aligned(entry):
            text = escape(entry.text) if math.isnan(entry.value) else own_power(entry)
            return f"{{{bold}{text or '--' * bool(marks)}{marks}}}"
        value, error = self.number(entry)
        error = rf" \pm {error}" if error else ""
        return f"{bold}{value}{error}" + (f" {{{marks}}}" if marks else "")


def has_error(entry: Entry) -> bool:
    """Whether the entry has a standard error that is more than rounding."""
    return math.isfinite(entry.se) and entry.se > 1e-9 * abs(entry.value)


def superscripts(marks: str) -> str:
    """The marks of an entry, raised."""
    text = "".join(DAGGERS.get(mark, mark) for mark in marks)
    return rf"\textsuperscript{{{text}}}" if text else ""


def own_power(entry: Entry) -> str:
    """A number beside which the others of its column would vanish, with its own power of ten."""
    if math.isinf(entry.value):
        return r"$\infty$"
    power = math.floor(math.log10(abs(entry.value)))
    power = power if not -2 <= power <= 4 else 0
    error, times = entry.se / 10.0**power, rf"\times 10^{{{power}}}" if power else ""
    number = f"{entry.value / 10.0**power:.1f}"
    if not has_error(entry):
        return rf"${number} {times}$"
    number = rf"{number} \pm {error:.1f}"
    return rf"$({number}) {times}$" if times else rf"${number}$"
