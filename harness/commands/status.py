"""``ebmark status``."""

from __future__ import annotations

from collections import Counter

from ebmark.console import Console
from ebmark.costlane import read_lane
from ebmark.locations import Location
from ebmark.lock import is_locked
from ebmark.planfile import read_plan
from ebmark.progress import duration
from ebmark.store import done
from ebmark.tables import must_be_results


def show(console: Console, folder: Location) -> None:
    """Counts by status, what the plan of the last run still misses, and how long that should take."""
    must_be_results(folder)
    stored = done(folder)
    counts = dict(Counter(stored["status"]))
    planned, lane = read_plan(folder), read_lane(folder)
    rows = stored[stored["status"] != "cancelled"]
    there = {id for id, n in zip(rows["id"], rows["attempt"], strict=True) if lane.compares(id, n)}
    missing = [id for id in planned if id not in there]
    left = len(missing)
    seconds = sum(planned[id] for id in missing)
    running = is_locked(folder)
    for name, n in sorted(counts.items()):
        console.say(f"{name:<10} {n}")
    console.say(f"{'missing':<10} {left}")
    if seconds:
        console.say(f"time left  about {duration(seconds)}")
    console.say("a run is writing here now" if running else "no run is writing here")
    console.document(
        {
            "folder": str(folder),
            "counts": counts,
            "missing": left,
            "seconds_left": seconds,
            "running": running,
        }
    )
