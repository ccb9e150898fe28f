"""What the tables for print share: captions, notes, and who is bold."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from pandas import DataFrame

from ebmark.report.frames import Study
from ebmark.report.paper_numbers import Column, PaperTable
from ebmark.stats import Ranking

BOLD = (
    "Bold: the best, and what a signed-rank test with Holm's adjustment does not tell from it at 5 % over "
    "the paired seeds."
)
UNTRUSTED = "†: a check failed; its interval, never ranked."
OWN = "‡: the method starts at the truth there; never ranked."
UNCOUNTED = "§: the work of its opponent is not counted."


def about(study: Study) -> str:
    """Seeds, date and code of the results, for every caption."""
    low, high = study.seeds
    seeds = f"n={high}" if low == high else f"n={low} to {high}"
    dates = study.trials["finished"].dropna()
    when = f", run up to {dates.max():%Y-%m-%d}" if len(dates) else ""
    return f"{study.title}: {seeds} {'seed' if high == 1 else 'seeds'}{when}."


class Notes:
    """Letters of the notes of a table: one per text, in the order of their first use."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """The letter of this text; after z nothing more is told apart."""
        return self._letters.setdefault(text, string.ascii_lowercase[min(len(self._letters), 25)])

    @property
    def texts(self) -> dict[str, str]:
        """Text by letter."""
        return {letter: text for text, letter in self._letters.items()}


def at(rows: DataFrame, place: dict[str, Any]) -> DataFrame:
    """The rows of a place, by the columns that name it."""
    for name, value in place.items():
        rows = rows[rows[name] == value]
    return rows


def of_label(rows: DataFrame, label: str) -> DataFrame:
    """The rows of a method."""
    return rows[rows["label"] == label]


def is_bold(rank: Ranking, i: int) -> bool:
    """Whether row i is the best, or not told from it."""
    return rank.best == i or bool(rank.ties[i])


def bolded(ranks: Sequence[Ranking]) -> str:
    """What bold means in the table, or why nothing is bold."""
    if any(rank.best is not None for rank in ranks):
        return BOLD
    notes = sorted({rank.note for rank in ranks})
    return f"Nothing is bold: {'; '.join(notes)}."


def marked(columns: Sequence[Column]) -> str:
    """What the signs in the table mean, those it has."""
    marks = {mark for column in columns for entry in column.entries for mark in entry.marks}
    texts = {"†": UNTRUSTED, "‡": OWN, "§": UNCOUNTED}
    return " ".join(text for mark, text in texts.items() if mark in marks)


def finished(
    study: Study, name: str, caption: str, labels: Sequence[str], columns: Sequence[Column], notes: Notes
) -> PaperTable:
    """The table, its caption ending in what the study is."""
    text = f"{' '.join(caption.split())} {about(study)}"
    return PaperTable(name=name, caption=text, rows=labels, columns=columns, notes=notes.texts)
