"""``ebmark status``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from ebmark.console import Console
from ebmark.costlane import read_lane
from ebmark.lock import is_locked
from ebmark.store import done
from ebmark.tables import must_be_results


def show(console: Console, folder: Path) -> None:
    """Counts by status, and what the plan of the last run still misses."""
    must_be_results(folder)
    stored = done(folder)
    counts = dict(Counter(stored["status"]))
    planned, lane = folder / "plan.json", read_lane(folder)
    ids = set(json.loads(planned.read_text())) if planned.exists() else set()
    rows = stored[stored["status"] != "cancelled"]
    left = len(ids - {id for id, n in zip(rows["id"], rows["attempt"], strict=True) if lane.compares(id, n)})
    running = is_locked(folder)
    for name, n in sorted(counts.items()):
        console.say(f"{name:<10} {n}")
    console.say(f"{'missing':<10} {left}")
    console.say("a run is writing here now" if running else "no run is writing here")
    console.document({"folder": str(folder), "counts": counts, "missing": left, "running": running})
