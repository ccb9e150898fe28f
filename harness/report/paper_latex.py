r"""A table for print as a value, and its LaTeX: booktabs, numbers aligned by siunitx's S columns.

A file compiles where booktabs and siunitx are loaded, and needs nothing else of the document around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from ebmark.report.grid import escape

WIDTH = 6.75  # inches of the text of two columns
LETTER, GAP = 0.057, 0.12  # inches of a letter at 8 pt, and between two columns
MOST_ROWS = 44  # of a page, below a caption
DAGGERS = {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}"}
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


def parts(table: PaperTable) -> list[PaperTable]:
    """The table in pieces that fit a page, each with the notes it needs."""
    names = LETTER * max((len(name) for name in table.rows), default=0)
    widths = [_width(column) for column in table.columns]
    pieces = _filled(table.columns, widths, WIDTH - names)
    for share in range(
        19, 9, -1
    ):  # of the width: as narrow as so many pieces can be, so that none is left thin
        tried = _filled(table.columns, widths, (WIDTH - names) * share / 20)
        pieces = tried if len(tried) == len(pieces) else pieces
    starts = range(0, max(len(table.rows), 1), MOST_ROWS)
    made = [_piece(table, columns, start) for columns in pieces for start in starts]
    if len(made) == 1:
        return made
    return [
        PaperTable(
            name=f"{one.name}_{i}",
            caption=f"{one.caption} Part {i} of {len(made)}.",
            rows=one.rows,
            columns=one.columns,
            notes=one.notes,
        )
        for i, one in enumerate(made, 1)
    ]


def _filled(columns: Sequence[Column], widths: Sequence[float], most: float) -> list[list[Column]]:
    """The columns in order, as many in a piece as fit, and one at least."""
    pieces, left = list[list[Column]](), 0.0
    for column, width in zip(columns, widths, strict=True):
        if not pieces or width > left:
            pieces.append([])
            left = most
        pieces[-1].append(column)
        left -= width
    return pieces


def _piece(table: PaperTable, columns: Sequence[Column], start: int) -> PaperTable:
    """Some columns and rows; without rows that have nothing in them."""
    end = min(start + MOST_ROWS, len(table.rows))
    kept = [i for i in range(start, end) if any(_said(column.entries[i]) for column in columns)]
    cut = [
        Column(title=one.title, group=one.group, entries=[one.entries[i] for i in kept]) for one in columns
    ]
    marks = {letter for column in cut for entry in column.entries for letter in entry.marks}
    notes = {letter: text for letter, text in table.notes.items() if letter in marks}
    rows = [table.rows[i] for i in kept]
    return PaperTable(name=table.name, caption=table.caption, rows=rows, columns=cut, notes=notes)


def _said(entry: Entry) -> bool:
    return not math.isnan(entry.value) or bool(entry.text or entry.marks)


def latex(table: PaperTable) -> str:
    """The table as a float with its caption."""
    formats = [_Format.of(column) for column in table.columns]
    spec = "".join(one.spec(column) for one, column in zip(formats, table.columns, strict=True))
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{siunitx}, its version 3",
        r"\begin{table*}\centering\footnotesize",
        r"\sisetup{uncertainty-mode=separate, mode=text, reset-text-series=false, text-series-to-math=true}",
        r"\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{caption(table)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}l{spec}@{{}}}}",
        r"\toprule",
        *_head(table, formats),
        r"\midrule",
    ]
    for i, name in enumerate(table.rows):
        cells = [one.cell(column.entries[i]) for one, column in zip(formats, table.columns, strict=True)]
        lines.append(" & ".join([escape(name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def caption(table: PaperTable) -> str:
    """The caption with its notes, escaped."""
    notes = [rf"\textsuperscript{{{letter}}}{escape(text)}." for letter, text in table.notes.items()]
    return " ".join([escape(table.caption), *notes])


def _head(table: PaperTable, formats: Sequence[_Format]) -> list[str]:
    """The line of the groups, ruled, and the line of the titles with their powers of ten."""
    lines = []
    if any(column.group for column in table.columns):
        cells, rules, at = [""], [], 2
        for group, members in groupby(table.columns, key=lambda column: column.group):
            n = len(list(members))
            cells.append(rf"\multicolumn{{{n}}}{{c}}{{{_stacked(group, n)}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + n - 1}}}" if group else "")
            at += n
        lines = [" & ".join(cells) + r" \\", "".join(rules)]
    titles = [""]
    for column, one in zip(table.columns, formats, strict=True):
        power = rf" ($10^{{{one.power}}}$)" if one.power else ""
        titles.append(f"{{{escape(column.title)}{power}}}")
    return [*lines, " & ".join(titles) + r" \\"]


def _stacked(group: str, columns: int) -> str:
    """The name of a group, its settings below each other where it stands above one column."""
    if columns > 1 or len(group) < 14:
        return escape(group)
    lines = r" \\ ".join(escape(line) for line in _broken(group))
    return rf"\begin{{tabular}}[b]{{@{{}}c@{{}}}}{lines}\end{{tabular}}"


def _broken(group: str) -> list[str]:
    name, _, settings = group.partition("[")
    return [name, *(part for part in settings.removesuffix("]").split(",") if part)]


def _width(column: Column) -> float:
    """About how wide the column is, in inches."""
    form = _Format.of(column)
    lines = [column.title + 7 * " " * bool(form.power), *_broken(column.group)]
    error = 3 + max(form.error + 1, form.places + 2) if form.error else 0
    wide = form.minus + form.whole + 1 + form.places + error
    marks = max((len(entry.marks) for entry in column.entries), default=0)
    texts = max((len(entry.text) + len(entry.marks) for entry in column.entries), default=0)
    return GAP + LETTER * max(wide + marks, texts, *(len(line) for line in lines))


@dataclass(frozen=True, kw_only=True)
class _Format:
    """How the numbers of a column are written: times 10^power, and the digits kept free for them."""

    power: int
    whole: int
    places: int
    error: int
    minus: bool

    @classmethod
    def of(cls, column: Column) -> _Format:
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
        error = f"({self.error})" if self.error else ""
        form = f"{'-' * self.minus}{self.whole}.{self.places}{error}"
        widest = max((entry.marks for entry in column.entries if self.aligned(entry)), key=len, default="")
        post = f"{{{_marks(widest)}}}" if widest else ""
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
        if not _spread(entry):
            return min(max(0, 2 - math.floor(math.log10(size))), PLACES) if size else 0
        first = math.floor(math.log10(spread))
        return min(max(0, -first + (float(f"{spread:.1e}") < 3 * 10.0**first)), PLACES)

    def number(self, entry: Entry) -> tuple[str, str]:
        """The value and its standard error as text; the second is empty where there is none."""
        places = self._places(entry)
        value = f"{entry.value / 10.0**self.power + 0.0:.{places}f}"
        return value, f"{entry.se / 10.0**self.power:.{places}f}" if _spread(entry) else ""

    def cell(self, entry: Entry) -> str:
        bold, marks = r"\bfseries " * entry.bold, _marks(entry.marks)
        if not self.aligned(entry):
            text = escape(entry.text) if math.isnan(entry.value) else _power(entry)
            return f"{{{bold}{text or '--' * bool(marks)}{marks}}}"
        value, error = self.number(entry)
        error = rf" \pm {error}" if error else ""
        return f"{bold}{value}{error}" + (f" {{{marks}}}" if marks else "")


def _spread(entry: Entry) -> bool:
    """Whether the entry has a standard error that is more than rounding."""
    return math.isfinite(entry.se) and entry.se > 1e-9 * abs(entry.value)


def _marks(marks: str) -> str:
    text = "".join(DAGGERS.get(mark, mark) for mark in marks)
    return rf"\textsuperscript{{{text}}}" if text else ""


def _power(entry: Entry) -> str:
    """A number beside which the others of its column would vanish, with its own power of ten."""
    if math.isinf(entry.value):
        return r"$\infty$"
    power = math.floor(math.log10(abs(entry.value)))
    power = power if not -2 <= power <= 4 else 0
    error, times = entry.se / 10.0**power, rf"\times 10^{{{power}}}" if power else ""
    number = f"{entry.value / 10.0**power:.1f}"
    if not _spread(entry):
        return rf"${number} {times}$"
    number = rf"{number} \pm {error:.1f}"
    return rf"$({number}) {times}$" if times else rf"${number}$"
