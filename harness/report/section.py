"""A section of the report, and the report, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ebmark.report.grid import Grid
from ebmark.report.look import Picture

LIMITS, ABSENT = "limits", "absent"  # anchors of the sections that are lists


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with its sentences, figures and tables; ``code`` is shown as it is.

    ``parts`` are sections below it, folded on the page.
    """

    anchor: str
    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    code: str = ""
    parts: Sequence[Section] = ()

    def every(self) -> Iterator[Section]:
        """The section and those below it."""
        yield self
        for part in self.parts:
            yield from part.every()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole page.

    Attributes:
        title: of the page.
        facts: how many trials, how they ended.
        answer: leads and sentences of the first screen, three at most.
        headline: the figure of the first screen.
        missing: why it is not the cost to a quality over dimension; empty where it is.
        sections: what follows.
    """

    title: str
    facts: str
    answer: Sequence[tuple[str, str]]
    headline: Picture | None
    missing: str
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """All figures, each once, in the order of the page."""
        found = [picture for section in self.sections for one in section.every() for picture in one.pictures]
        return list({picture.name: picture for picture in found}.values())

    @property
    def grids(self) -> list[Grid]:
        """All tables, in the order of the page."""
        return [grid for section in self.sections for one in section.every() for grid in one.grids]
