"""A section of the report, and the report, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ebmark.report.grid import Grid
from ebmark.report.look import Picture


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with its sentences, figures and tables; ``code`` is shown as it is."""

    anchor: str
    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole page: the answer, the figure of the first screen, and the sections."""

    title: str
    answer: Sequence[tuple[str, str]]
    headline: Picture | None
    sections: Sequence[Section]
