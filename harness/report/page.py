"""Writes the report: one HTML page that opens offline, Markdown, tables and figures."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pandas import DataFrame

from ebmark.report.frames import Tables, load
from ebmark.report.grid import csv, latex, literal, markdown, sort_key
from ebmark.report.inline import inline
from ebmark.report.look import Look, Picture, png, settle, svg, theme
from ebmark.report.section import ABSENT, LIMITS, Report
from ebmark.report.sections import report

FIGURE_DPI = 150


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A figure as elements of the page: as a wide window shows it, and as a telephone does."""

    wide: str
    narrow: str


def write(
    tables: Tables,
    out: Path,
    *,
    spec: Mapping[str, Any] | None,
    title: str,
    progress: Callable[[float, str], object] = lambda share, what: None,
) -> list[Path]:
    """Writes report.html, report.md, tables/ and figures/ below ``out``; the same tables give the same bytes.

    Args:
        tables: what a results folder holds.
        out: the folder, made where it is missing.
        spec: the parsed study file, for its targets and to be shown.
        title: of the page.
        progress: told what share is done, and what comes next.

    Returns:
        The files written.

    Raises:
        StoreError: there is no trial.
    """
    mpl.use("Agg")
    progress(0.0, "statistics")
    study = load(tables, spec, title)
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    with theme():
        page = report(study, look)
        return [*_tables(page, out / "tables"), *_pages(page, out, progress)]


def _tables(page: Report, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for grid in page.grids:
        for suffix, text in ((".csv", csv(grid.tidy)), (".tex", latex(grid))):
            written.append(folder / f"{_safe(grid.name)}{suffix}")
            written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _pages(page: Report, out: Path, progress: Callable[[float, str], object]) -> list[Path]:
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written, embedded = [], {}
    for i, picture in enumerate(page.pictures):
        progress(i / len(page.pictures), picture.name)
        embedded[picture.name] = _embed(picture, folder, f"f{i}")
        written += [folder / f"{_safe(picture.name)}{suffix}" for suffix in (".svg", ".png", ".csv")]
        written[-1].write_text(csv(picture.data), encoding="utf-8", newline="\n")
    environment = Environment(
        loader=PackageLoader("ebmark.report", "."),
        autoescape=lambda name: bool(name and ".html" in name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(fine=fine, breakable=breakable, literal=literal)
    style, script = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in STATIC)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = {
        "page": page,
        "embedded": embedded,
        "style": style,
        "script": script,
        "digest": digest,
        "lists": (LIMITS, ABSENT),
    }
    for name in ("report.html", "report.md"):
        template = environment.get_template(f"{name}.jinja")
        text = template.render(**shown, markdown=markdown, address=address, sort_key=sort_key)
        written.append(out / name)
        written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _safe(name: str) -> str:
    """A file's name that stays in its folder: a metric's name comes from tables that may be anyone's."""
    return re.sub(r"[^\w.-]", "_", name)[:100]


STATIC = ("style.css", "report.js")


def _embed(picture: Picture, folder: Path, prefix: str) -> Embedded:
    """Writes the files of a figure; its two widths for the page."""
    wide = settle(picture.draw())
    vector = svg(wide)
    (folder / f"{_safe(picture.name)}.svg").write_bytes(vector)
    (folder / f"{_safe(picture.name)}.png").write_bytes(png(wide, FIGURE_DPI))
    narrow = svg(settle(picture.draw(narrow=True)))
    return Embedded(
        wide=inline(vector, f"{prefix}w", picture.alt), narrow=inline(narrow, f"{prefix}n", picture.alt)
    )


SHORT = 16  # letters of a name that is never broken
UNITS = "µs|ms|s|min|h|F|nats|%"


def fine(text: str) -> Markup:
    """Text for the page: no line ends within ``d = 8`` or ``3 ms``, minus signs; code as it was typed."""
    parts = re.split(r"`([^`]+)`", text)  # code at the odd places
    parts[::2] = [str(escape(_prose(part))) for part in parts[::2]]
    parts[1::2] = [f"<code>{escape(part)}</code>" for part in parts[1::2]]
    return Markup("".join(parts))


def _prose(text: str) -> str:
    text = _joined(text)
    text = re.sub(rf"(?<=\d) (?=(?:{UNITS})(?!\w))", "\u00a0", text)
    return re.sub(r"(?<![\w=*-])-(?=[\d.])|(?<=\^)-(?=\d)", "−", text)


def _joined(text: str) -> str:
    """No line ends beside a sign in front of a number."""
    return re.sub(r" ([=≤≥±×]) (?=[-\d])", "\u00a0\\1\u00a0", text)


def breakable(text: str) -> Markup:
    """A name that a narrow window may break where its parts meet, where it is long."""
    whole = str(escape(_joined(text)))
    return Markup(whole if len(text) <= SHORT else re.sub(r"([\[,_:])(?=.)", r"\1<wbr>", whole))


def address(frame: DataFrame) -> str:
    """The CSV of a frame as an address that the page carries in itself."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(csv(frame).encode()).decode()}"
