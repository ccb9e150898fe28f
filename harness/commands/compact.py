"""``ebmark compact``."""

from __future__ import annotations

from ebmark.console import Console
from ebmark.locations import Location
from ebmark.parts import part_paths
from ebmark.planfile import read_plan
from ebmark.store import Store, done
from ebmark.tables import PARTED, must_be_results


def compact(console: Console, folder: Location) -> None:
    """Rewrites each table of a results folder into one part, in plan order, without rows that were replaced.

    Raises:
        StoreError: not a results folder, a run is writing there, or the disk is full; nothing is lost then.
    """
    must_be_results(folder)
    before = _parts(folder)
    with Store(folder) as store:
        warnings = store.compact(list(read_plan(folder)))
    after = _parts(folder)
    for warning in warnings:
        console.say(f"warning: {warning}; set aside as .damaged-..., its trials are to be run again")
    trials = len(done(folder))
    console.say(f"{folder}: {trials} trials, {before} part files before and {after} after")
    console.document(
        {
            "folder": str(folder),
            "trials": trials,
            "parts_before": before,
            "parts_after": after,
            "damaged": list(warnings),
        }
    )


def _parts(folder: Location) -> int:
    return sum(len(part_paths(folder / table)) for table in PARTED)
