"""``ebmark doctor``."""

from __future__ import annotations

from dataclasses import asdict

from ebmark.console import Console
from ebmark.doctor import checks, met, reasons

MARKS = {True: "ok  ", False: "BAD ", None: "note"}


def show(console: Console) -> int:
    """One line per check and per reason why timings here are not trusted, with its mend; 2 if a check fails.

    The document has every reason that there can be.
    """
    found = checks()
    for check in [*found, *met()]:
        mend = f"\n     {check.mend}" if check.mend else ""
        console.say(f"{MARKS[check.ok]} {check.name}: {check.found}{mend}")
    console.document([asdict(check) for check in [*found, *reasons()]])
    return 2 if any(check.ok is False for check in found) else 0
