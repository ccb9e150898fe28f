"""``ebmark ls``."""

from __future__ import annotations

from dataclasses import asdict

from ebmark.console import Console


def show(console: Console, what: str) -> None:
    """Names with origin, version and, for methods, year and reference."""
    if what == "studies":
        from ebmark.specfile import opening, shipped

        studies = [{"name": name, "summary": opening(name)} for name in shipped()]
        console.table(studies, ["name", "summary"])
        console.document(studies)
        return
    from ebmark.registry import entries

    found = [asdict(entry) for entry in entries(what.removesuffix("s"))]
    for row in found:
        row["summary"] = f"broken: {row['broken']}" if row["broken"] else row["summary"]
    year = ["year"] if what == "methods" else []
    console.table(found, ["name", *year, "origin", "version", "summary"])
    console.document(found)
