"""A table for print in LaTeX: booktabs, cut to the page.

A file compiles where booktabs and siunitx are loaded, and needs nothing else of the document around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from ebmark.report.grid import escape
from ebmark.report.paper_numbers import Column, Entry, Format, PaperTable

WIDTH = 6.75  # inches of the text of two columns
LETTER, GAP = 0.057, 0.12  # inches of a letter at 8 pt, and between two columns
MOST_ROWS = 44  # of a page, below a caption


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
    formats = [Format.of(column) for column in table.columns]
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


def _head(table: PaperTable, formats: Sequence[Format]) -> list[str]:
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
    form = Format.of(column)
    lines = [column.title + 7 * " " * bool(form.power), *_broken(column.group)]
    error = 3 + max(form.error + 1, form.places + 2) if form.error else 0
    wide = form.minus + form.whole + 1 + form.places + error
    marks = max((len(entry.marks) for entry in column.entries), default=0)
    texts = max((len(entry.text) + len(entry.marks) for entry in column.entries), default=0)
    return GAP + LETTER * max(wide + marks, texts, *(len(line) for line in lines))
