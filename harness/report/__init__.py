"""The report: tables and figures from a results folder. Imports neither torch nor ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebmark.report.frames import Tables

__all__ = ["write"]


def write(tables: Tables, out: Path, *, spec: Mapping[str, Any] | None, title: str) -> list[Path]:
    """Writes report.html, report.md, tables/ and figures/ below ``out``; see ``page.write``."""
    from ebmark.report import page  # seaborn and jinja2 take seconds to import

    return page.write(tables, out, spec=spec, title=title)
