"""``ebmark ls``."""

from __future__ import annotations

from dataclasses import asdict

from ebmark.console import Console


def show(console: Console, what: str) -> None:
    """Names with origin, version and, for methods, year and reference."""
    if what == "studies":
        from ebmark.study import shipped

        names = shipped()
        console.table([{"name": name} for name in names], ["name"])
        console.document(names)
        return
    from ebmark.registry import entries

    found = [asdict(entry) for entry in entries(what.removesuffix("s"))]
    for row in found:
        row["summary"] = f"broken: {row['broken']}" if row["broken"] else row["summary"]
    year = ["year"] if what == "methods" else []
    console.table(found, ["name", *year, "origin", "version", "summary"])
    console.document(found)
