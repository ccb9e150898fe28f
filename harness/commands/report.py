"""``ebmark report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebmark.bar import Bar
from ebmark.console import Console
from ebmark.errors import SpecError, StoreError
from ebmark.locations import Location
from ebmark.parts import one_line_errors, read_text
from ebmark.spec import validate
from ebmark.specfile import Places, overlay, parse_toml
from ebmark.store import Tables, read


def write(console: Console, folder: Location, out: Path, *, paper: bool) -> None:
    """Writes the report, or with ``paper`` what goes into one, below it; damaged parts are named."""
    bar = Bar("report")
    tables = read(folder)
    for warning in tables.warnings:
        console.say(f"warning: {warning}")
    spec = study_file(tables)
    title = (spec or {}).get("name", folder.name)
    with one_line_errors(out):
        if paper:
            from ebmark.report.paper import write as write_paper

            files = write_paper(tables, out / "paper", spec=spec, title=title)
        else:
            from ebmark.report.page import write as write_page

            files = write_page(tables, out, spec=spec, title=title, progress=bar.show)
            bar.close()
    first = out / "paper" / "main.tex" if paper else out / "report.html"
    console.say(f"{first} and {len(files) - 1} more files")
    console.document({"folder": str(folder), "files": [str(path) for path in files]})


def study_file(tables: Tables) -> dict[str, Any] | None:
    """The study file beside the tables, as they were made with it; None where there is none.

    Raises:
        StoreError: it is no study, or cannot be read.
    """
    file = tables.folder / "spec.toml"
    text = read_text(file)
    if text is None:
        return None
    try:
        spec, places = parse_toml(str(file), text), Places(str(file), text)
        quick = validate(spec, places).quick
        name = f"{spec['name']}-quick"
        if set(tables.trials["study"]) == {name}:  # the file is stored as it was written
            spec = overlay(spec, quick) | {"name": name}
            validate(spec, places)
    except SpecError as error:
        raise StoreError(f"{error}; mend or remove the file, a run writes it again") from None
    return spec
