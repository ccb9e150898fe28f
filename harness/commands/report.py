"""``ebmark report``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ebmark.bar import Bar
from ebmark.console import Console
from ebmark.locations import Location
from ebmark.specfile import overlay
from ebmark.store import read


def write(console: Console, folder: Location, out: Path, *, paper: bool) -> None:
    """Writes the report, or with ``paper`` what goes into one, below it; damaged parts are named."""
    bar = Bar("report")
    tables = read(folder)
    for warning in tables.warnings:
        console.say(f"warning: {warning}")
    stored = folder / "spec.toml"
    spec = tomllib.loads(stored.read_text()) if stored.exists() else None
    if spec and set(tables.trials["study"]) == {
        f"{spec['name']}-quick"
    }:  # the file is stored as it was written
        spec = overlay(spec, spec.get("quick", {})) | {"name": f"{spec['name']}-quick"}
    title = (spec or {}).get("name", folder.name)
    if paper:
        from ebmark.report.paper import write as write_paper

        files, first = write_paper(tables, out / "paper", spec=spec, title=title), out / "paper" / "main.tex"
    else:
        from ebmark.report.page import write as write_page

        files, first = write_page(tables, out, spec=spec, title=title, progress=bar.show), out / "report.html"
        bar.close()
    console.say(f"{first} and {len(files) - 1} more files")
    console.document({"folder": str(folder), "files": [str(path) for path in files]})
