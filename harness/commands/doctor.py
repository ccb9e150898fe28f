"""``ebmark doctor``."""

from __future__ import annotations

from dataclasses import asdict

from ebmark.console import Console
from ebmark.doctor import checks, reasons

MARKS = {True: "ok  ", False: "BAD ", None: "note"}


def show(console: Console) -> int:
    """One line per check and per reason to distrust a timing, with its mend; 2 if a check fails, else 0."""
    found = [*checks(), *reasons()]
    for check in found:
        mend = f"\n     {check.mend}" if check.mend else ""
        console.say(f"{MARKS[check.ok]} {check.name}: {check.found}{mend}")
    console.document([asdict(check) for check in found])
    return 2 if any(check.ok is False for check in found) else 0
