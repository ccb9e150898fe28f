"""``ebmark compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ebmark import stats
from ebmark.comparison import MARKS, compare
from ebmark.console import Console
from ebmark.errors import StoreError
from ebmark.locations import Location
from ebmark.store import read

COLUMNS = [
    "",
    "method",
    "dataset",
    "d",
    "network",
    "what",
    "A",
    "B",
    "difference",
    "effect",
    "p",
    "pairs",
    "note",
]


def show(console: Console, a: Location, b: Location) -> None:
    """What changed from results A to results B: for each method over all data sets, then where it changed.

    The JSON document has every row.

    Raises:
        StoreError: one of them is no results folder, or they have no trial in common.
    """
    rows = compare(read(a), read(b))
    if not rows:
        raise StoreError(
            f"compare: {a} and {b} share no trial of one method, data set, network and seed; "
            f"what they hold: ebmark report {a}"
        )
    shown = [row for row in rows if row["dim"] is None or _moved(row)]
    if shown:
        console.table([_shown(row) for row in shown], COLUMNS)
        console.say("")
    counts = {mark: sum(row["mark"] == mark for row in rows) for mark in MARKS}
    console.say(f"{len(rows)} rows: " + ", ".join(f"{counts[mark]} {mark} ({MARKS[mark]})" for mark in MARKS))
    console.say(
        f"shown: all data sets together, and the {sum(row['dim'] is not None for row in shown)} cells whose "
        "interval leaves out no change or in which a run failed; --json has all"
    )
    console.say(
        "difference: B - A, or B / A after x, with its 95 % interval over the pairs; effect: 1 where B is "
        f"always worse; + and - need {stats.MIN_PAIRS} pairs and p < 0.05, Holm over the rows of a quantity"
    )
    for hint in (hints := _hints(rows, a, b)):
        console.say(f"next: {hint}")
    console.document(
        {"a": str(a), "b": str(b), "marks": counts, "hints": hints, "rows": [_plain(row) for row in rows]}
    )


def _hints(rows: Sequence[Mapping[str, Any]], a: Location, b: Location) -> list[str]:
    """What to run so that rows which cannot be compared can be."""
    hints = []
    if any(row["note"].endswith("needed") and row["lane"] == "quality" for row in rows):
        each = " && ".join(f"ebmark run {x}/spec.toml -o {x} --seeds {stats.MIN_PAIRS}" for x in (a, b))
        hints.append(f"{each}; with {stats.MIN_PAIRS} pairs a cell of its own can be told apart")
    if any(row["note"].endswith("different machines") for row in rows):
        hints.append("run both on one machine, seconds of a step compare on no other")
    return hints


def _moved(row: Mapping[str, Any]) -> bool:
    """Whether no change lies outside the interval, or the runs that failed say that there is one."""
    still = 1.0 if row["ratio"] else 0.0
    return bool(row["failed_a"] or row["failed_b"] or row["lo"] > still or row["hi"] < still)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table for a person."""
    ends = f"{row['lo']:.3g}, {row['hi']:.3g}" if row["lo"] <= row["hi"] else "no interval"
    return {
        "": row["mark"],
        "method": row["method_label"],
        "dataset": row["dataset_label"] or "all",
        "d": row["dim"] or "all",
        "network": row["network"] or "all",
        "what": row["what"],
        "A": f"{row['a']:.4g}",
        "B": f"{row['b']:.4g}",
        "difference": f"{'x ' if row['ratio'] else ''}{row['difference']:.3g} [{ends}]",
        "effect": f"{row['effect']:+.2f}",
        "p": "" if math.isnan(row["p"]) else f"{row['p']:.2g}",
        "pairs": row["pairs"],
        "note": row["note"],
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for JSON, which has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
