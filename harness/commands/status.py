"""``ebmark status``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ebmark.console import Console
from ebmark.costlane import read_lane
from ebmark.locations import Location
from ebmark.lock import is_locked
from ebmark.planfile import read_plan
from ebmark.record import NO_FAILURE
from ebmark.rows import newest_rows
from ebmark.runfile import read_run
from ebmark.showing import described, duration
from ebmark.store import done
from ebmark.tables import load, must_be_results

SHOWN = 8  # running trials, longest first, and failed ones; `--json` and the report have all
WHAT = ("id", "status", "method_label", "dataset_label", "dim", "seed", "lane", "repeat", "rate_factor")


def show(console: Console, folder: Location) -> None:
    """Counts by status, what the plan of the last run still misses, and what a run does now."""
    must_be_results(folder)
    stored = done(folder)
    counts = dict(Counter(stored["status"]))
    missing = _missing(folder, stored)
    running = is_locked(folder)
    run = read_run(folder) if running else {}
    seconds = run.get("seconds_left") or sum(missing.values())
    for name, n in sorted(counts.items()):
        console.say(f"{name:<10} {n}")
    stopped = missing.keys() & set(stored.loc[stored["status"] == "cancelled", "id"])
    console.say(f"{'missing':<10} {len(missing)}" + (", the cancelled among them" if stopped else ""))
    if seconds and missing:
        console.say(f"time left  about {duration(seconds)}")
    if run:
        _tell(console, run)
    else:
        console.say("a run is writing here now" if running else "no run is writing here")
    if counts.keys() - {*NO_FAILURE}:
        _name_failed(console, folder)
    console.document(
        {
            "folder": str(folder),
            "counts": counts,
            "missing": len(missing),
            "seconds_left": seconds,
            "running": running,
            "run": run,
        }
    )


def _name_failed(console: Console, folder: Location) -> None:
    """The trials that failed, with what shows why."""
    trials = load(folder, "trials", [*WHAT, "attempt", "finished"]).data
    trials = trials.take(pa.array(newest_rows(trials)))
    trials = trials.filter(pc.invert(pc.is_in(trials["status"], pa.array(NO_FAILURE))))
    most = f", the first {SHOWN} of {len(trials)}" * (len(trials) > SHOWN)
    console.say(f"\nfailed{most}; `ebmark show ID {folder}` says why")
    for row in trials.slice(0, SHOWN).to_pylist():
        console.say(f"{row['id']}  {row['status'] or '':<8}  {described(row)}")


def _missing(folder: Location, stored: pd.DataFrame) -> dict[str, float]:
    """Trials of the plan without a record that compares, with what each should add to the wall-clock."""
    planned, lane = read_plan(folder), read_lane(folder)
    rows = stored[stored["status"] != "cancelled"]
    there = {id for id, n in zip(rows["id"], rows["attempt"], strict=True) if lane.compares(id, n)}
    return {id: seconds for id, seconds in planned.items() if id not in there}


def _tell(console: Console, run: Mapping[str, Any]) -> None:
    """What the run says of itself."""
    since, rate = duration(run["seconds"]), run["rate"]
    console.say(
        f"a run is writing here for {since}: {run['finished']} of {run['total']}, {rate:.3g} a second"
    )
    longest: Sequence[Mapping[str, Any]] = sorted(run["running"], key=lambda one: -one["seconds"])
    if longest:
        console.say("\nrunning now" + (f", the longest {SHOWN} of {len(longest)}" * (len(longest) > SHOWN)))
    for one in longest[:SHOWN]:
        console.say(f"{one['id']}  {duration(one['seconds']):>12}  {one['node']:<15}  {one['what']}")
    console.say("")
    console.table(run["nodes"], ["node", "slots", "running", "finished"])
    if run["slowest"]:
        console.say("\nslowest so far")
    for one in run["slowest"]:
        console.say(f"{one['id']}  {duration(one['seconds']):>12}  {one['what']}")
