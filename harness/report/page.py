"""Writes the report: one HTML page that opens offline, Markdown, tables and figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined

from ebmark.report.frames import Tables, load
from ebmark.report.grid import latex, markdown
from ebmark.report.look import Look, Picture, png, settle, svg, theme
from ebmark.report.section import Report
from ebmark.report.sections import report

FIGURE_DPI = 150
EMBED_DPI = 110


def write(tables: Tables, out: Path, *, spec: Mapping[str, Any] | None, title: str) -> list[Path]:
    """Writes report.html, report.md, tables/ and figures/ below ``out``; the same tables give the same bytes.

    Args:
        tables: what a results folder holds.
        out: the folder, made where it is missing.
        spec: the parsed study file, for its targets and to be shown.
        title: of the page.

    Returns:
        The files written.

    Raises:
        StoreError: there is no trial.
    """
    mpl.use("Agg")
    study = load(tables, spec, title)
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    with theme():
        page = report(study, look)
        return [*_tables(page, out / "tables"), *_pages(page, out)]


def _tables(page: Report, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for grid in (grid for section in page.sections for grid in section.grids):
        for suffix, text in ((".csv", grid.tidy.to_csv(index=False)), (".tex", latex(grid))):
            written.append(folder / f"{grid.name}{suffix}")
            written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _pages(page: Report, out: Path) -> list[Path]:
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written, embedded = [], {}
    for picture in (picture for section in page.sections for picture in section.pictures):
        embedded[picture.name] = _embed(picture, folder)
        written += [folder / f"{picture.name}{suffix}" for suffix in (".svg", ".png")]
    environment = Environment(
        loader=PackageLoader("ebmark.report", "."),
        autoescape=lambda name: bool(name and ".html" in name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("report.html", "report.md"):
        template = environment.get_template(f"{name}.jinja")
        style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
        text = template.render(page=page, embedded=embedded, style=style, markdown=markdown)
        written.append(out / name)
        written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _embed(picture: Picture, folder: Path) -> dict[str, str]:
    """Writes the files of a figure; its two widths as data addresses for the page."""
    wide, narrow = settle(picture.draw()), settle(picture.draw(narrow=True))
    vector = svg(wide)
    (folder / f"{picture.name}.svg").write_bytes(vector)
    (folder / f"{picture.name}.png").write_bytes(png(wide, FIGURE_DPI))
    if picture.raster:
        both = {"wide": wide, "narrow": narrow}
        return {name: _address(png(figure, EMBED_DPI), "png") for name, figure in both.items()}
    return {"wide": _address(vector, "svg+xml"), "narrow": _address(svg(narrow), "svg+xml")}


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
