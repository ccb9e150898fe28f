"""A table of the report as a value, and its renderings: Markdown and LaTeX (booktabs)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pandas import DataFrame

LATEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{"},
    **{"}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$"},
    **{"†": r"$^\dagger$", "‡": r"$^\ddagger$", "≈": r"$\approx$", "≤": r"$\leq$", "∞": r"$\infty$"},
    **{"·": r"$\cdot$", "–": "--", "−": "$-$", "µ": r"$\mu$", "[": "{[}", "]": "{]}", "ν": r"$\nu$"},
    **{"§": r"\S{}", "≥": r"$\geq$", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "²": "$^2$"},
    **{"ο": "o", "ς": r"$\varsigma$"},
}
SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
DIGITS = str.maketrans(SUPERSCRIPTS, "-0123456789")
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_NUMBER = re.compile(
    r"\[?(?:d\^)?(?:([-−+]?[\d,]*\.?\d+) × )?(?:10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)|([-−+]?[\d,]*\.?\d+)|(∞))"
    r"(?: (µs|ms|s|min|h)\b)?"
)
# As CommonMark reads a line from the left: a letter behind \, code, backticks that open none.
_CODE = re.compile(r"\\.|(`+)(?!`)[^\n]+?(?<!`)\1(?!`)|`+")
_SHARED = re.compile(r"\[?\((-?[\d.]+) ± [\d.]+\) × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Text of a cell, whether it is the best of its column, and whether it is tied with the best."""

    text: str
    best: bool = False
    tie: bool = False

    @property
    def marked(self) -> str:
        """The text, with the mark of a tie."""
        return f"{self.text} ≈" if self.tie else self.text


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table.

    Attributes:
        name: of its files.
        title: what it shows, in a few words.
        caption: what it says and how to read its marks.
        head: titles of the columns; the first column holds the rows' names.
        rows: the cells.
        tidy: the same numbers unrounded, one per row, for the CSV file.
    """

    name: str
    title: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    tidy: DataFrame = field(default_factory=DataFrame)


def records(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows of a small frame."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def cells(*texts: str) -> list[Cell]:
    """A row of plain cells."""
    return [Cell(text=text) for text in texts]


def sort_key(text: str) -> float | None:
    """The number with which a cell begins, durations in seconds: what its column is sorted by; else None."""
    if shared := _SHARED.match(text):
        return float(shared[1]) * 10.0 ** int(shared[2].translate(DIGITS))
    found = _NUMBER.match(text)
    if found is None:
        return None
    factor, power, plain, infinite, unit = found.groups()
    if infinite:
        return math.inf
    number = float((plain or factor or "1").replace(",", "").replace("−", "-"))
    return number * 10.0 ** int((power or "0").translate(DIGITS)) * UNITS.get(unit or "s", 1.0)


def csv(frame: DataFrame) -> str:
    """Unrounded numbers as the page and the files offer them, nine significant digits."""
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def markdown(grid: Grid) -> str:
    """The table in GitHub's Markdown, best in bold."""
    lines = [[_pipe(title) for title in grid.head], ["---"] * len(grid.head)]
    for row in grid.rows:
        lines.append([f"**{_pipe(cell.text)}**" if cell.best else _pipe(cell.marked) for cell in row])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pipe(text: str) -> str:
    return literal(text).replace("|", "\\|")


def literal(text: str) -> str:
    """Text for Markdown, in which a name is no element; within code nothing is one anyway."""
    shown, end = "", 0
    for found in _CODE.finditer(text):
        shown += text[end : found.start()].replace("<", "&lt;")
        shown += found[0] if found[1] else found[0].replace("<", "&lt;")
        end = found.end()
    return shown + text[end:].replace("<", "&lt;")


def latex(grid: Grid) -> str:
    """The table in LaTeX, for the package booktabs."""
    lines = [
        f"% {grid.title}. {grid.caption}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}",
        r"\toprule",
    ]
    lines += [" & ".join(escape(title) for title in grid.head) + r" \\", r"\midrule"]
    for row in grid.rows:
        texts = [rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.marked) for cell in row]
        lines.append(" & ".join(texts) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Text as LaTeX shows it."""
    text = "".join(LATEX.get(letter) or _known(letter) for letter in text)
    return re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: f"$^{{{power[0].translate(DIGITS)}}}$", text)


def _known(letter: str) -> str:
    """A letter that LaTeX knows as it is; a Greek one by its name, and what it does not know as ``?``."""
    name = unicodedata.name(letter, "")
    if name.startswith("GREEK SMALL LETTER ") and " WITH " not in name:
        return rf"$\{name.rsplit(' ', 1)[1].lower()}$"
    return letter if letter.isascii() or name.startswith("LATIN ") or letter in SUPERSCRIPTS else "?"
