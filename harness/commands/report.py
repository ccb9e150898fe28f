"""``ebmark report``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ebmark.console import Console
from ebmark.locations import Location
from ebmark.report.page import write as write_report
from ebmark.specfile import overlay
from ebmark.store import read


def write(console: Console, folder: Location, out: Path) -> None:
    """Writes the report; damaged parts are named."""
    tables = read(folder)
    for warning in tables.warnings:
        console.say(f"warning: {warning}")
    stored = folder / "spec.toml"
    spec = tomllib.loads(stored.read_text()) if stored.exists() else None
    if spec and set(tables.trials["study"]) == {
        f"{spec['name']}-quick"
    }:  # the file is stored as it was written
        spec = overlay(spec, spec.get("quick", {})) | {"name": f"{spec['name']}-quick"}
    files = write_report(tables, out, spec=spec, title=(spec or {}).get("name", folder.name))
    console.say(f"{out / 'report.html'} and {len(files) - 1} more files")
    console.document({"folder": str(folder), "files": [str(path) for path in files]})
