"""``ebmark status``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ebmark.console import Console
from ebmark.costlane import last_plan
from ebmark.lock import is_locked
from ebmark.store import done
from ebmark.tables import must_be_results


def show(console: Console, folder: Path) -> None:
    """Counts by status, and what the plan of the last run still misses."""
    must_be_results(folder)
    stored = done(folder)
    counts = dict(Counter(stored["status"]))
    left = len(set(last_plan(folder)) - set(stored.loc[stored["status"] != "cancelled", "id"]))
    running = is_locked(folder)
    for name, n in sorted(counts.items()):
        console.say(f"{name:<10} {n}")
    console.say(f"{'missing':<10} {left}")
    console.say("a run is writing here now" if running else "no run is writing here")
    console.document({"folder": str(folder), "counts": counts, "missing": left, "running": running})
