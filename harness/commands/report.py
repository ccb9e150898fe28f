"""``ebmark report``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ebmark.console import Console
from ebmark.locations import Location
from ebmark.specfile import overlay
from ebmark.store import read


def write(console: Console, folder: Location, out: Path, *, paper: bool) -> None:
    """Writes the report, or with ``paper`` what goes into one, below it; damaged parts are named."""
    tables = read(folder)
    for warning in tables.warnings:
        console.say(f"warning: {warning}")
    stored = folder / "spec.toml"
    spec = tomllib.loads(stored.read_text()) if stored.exists() else None
    if spec and set(tables.trials["study"]) == {
        f"{spec['name']}-quick"
    }:  # the file is stored as it was written
        spec = overlay(spec, spec.get("quick", {})) | {"name": f"{spec['name']}-quick"}
    if paper:
        from ebmark.report.paper import write as make
    else:
        from ebmark.report.page import write as make
    title = (spec or {}).get("name", folder.name)
    files = make(tables, out / "paper" if paper else out, spec=spec, title=title)
    first = out / "paper" / "main.tex" if paper else out / "report.html"
    console.say(f"{first} and {len(files) - 1} more files")
    console.document({"folder": str(folder), "files": [str(path) for path in files]})
