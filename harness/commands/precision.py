"""``ebmark plan --precision``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ebmark import registry, stats
from ebmark.console import Console
from ebmark.costs import Measured
from ebmark.env import cores
from ebmark.errors import SpecError
from ebmark.headline import SIDES, Versus, headline, stacked
from ebmark.locations import Location
from ebmark.plan import plain_name
from ebmark.predict import Costs
from ebmark.showing import duration
from ebmark.store import read
from ebmark.study import Study

COLUMNS = ["method", "against", "dataset", "d", "network", "what", "ratio", "within", "seeds", "needed"]


def wanted(text: str) -> float:
    """A share from ``10%`` or ``0.1``.

    Raises:
        SpecError: not a share above 0 and below 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise SpecError(f"--precision: {text!r} given; allowed: a share such as 10% or 0.1")
    return share


def show(
    console: Console, study: Study, folder: Location, precision: float, measured: Measured | None = None
) -> None:
    """How many more seeds each comparison with the best method needs, and what they would cost.

    Args:
        console: takes the table.
        study: to be run.
        folder: of its results.
        precision: wanted of every comparison.
        measured: in a pilot run.

    Raises:
        StoreError: nothing has been run yet.
    """
    rows = comparisons(headline(read(folder), study.targets), precision)
    seconds = _seconds(study, folder, measured)
    console.table([_shown(row) for row in rows], COLUMNS)
    more, work = _more(rows, seconds)
    slots = cores()
    met = sum(row["needed"] <= row["seeds"] for row in rows)
    console.say(
        f"{met} of {len(rows)} comparisons with the best are within {precision:.0%} already; "
        f"{more:.0f} more trials: {work / 3600:.2g} CPU-hours, about {duration(work / slots)} on {slots} CPUs"
        if math.isfinite(work)
        else f"{met} of {len(rows)} comparisons are within {precision:.0%} already"
    )
    console.say("needed: seeds for a 95 % interval that narrow, if the spread stays what it is; - is unknown")
    console.document(
        {
            "study": study.name,
            "folder": str(folder),
            "precision": precision,
            "comparisons": [{k: _plain(v) for k, v in row.items()} for row in rows],
            "more": more,
            "cpu_hours": _plain(work / 3600),
        }
    )


def comparisons(found: Sequence[Versus], precision: float) -> list[dict[str, Any]]:
    """A row for every comparison: its ratio to the best over common seeds, and the seeds that it needs.

    Args:
        found: of ``headline``.
        precision: half the interval of the ratio, over the ratio.
    """
    if not found:
        return []
    ratios = stacked(found)
    centre = stats.t_interval(ratios, log=True).centre
    within = stats.relative_precision(ratios, log=True)
    needed = stats.seeds_needed(ratios, precision, log=True)
    return [
        {
            **dict(zip(SIDES, one.cell, strict=True)),
            "against": one.against,
            "what": one.what,
            "ratio": float(centre[i]),
            "within": float(within[i]),
            "seeds": int(np.isfinite(one.ratios).sum()),
            "needed": float(needed[i]),
        }
        for i, one in enumerate(found)
    ]


def _seconds(study: Study, folder: Location, measured: Measured | None) -> dict[tuple[Any, ...], float]:
    """Predicted seconds of one trial of the quality lane by the names of ``SIDES``."""
    costs, found = Costs.beside(folder, measured), {}
    for trial in study.trials():
        if trial.lane == "quality":
            predicted = costs.predict(trial)
            cell = (
                registry.label(trial.method),
                registry.label(trial.dataset),
                predicted.dim,
                plain_name(trial.network.name),
            )
            found[cell] = predicted.seconds
    return found


def _more(rows: Sequence[dict[str, Any]], seconds: Mapping[tuple[Any, ...], float]) -> tuple[float, float]:
    """Trials that the comparisons still need, and their seconds; NaN where those of a cell are unknown.

    A cell serves several comparisons: the one that needs most decides. Unknown needs count as none.
    """
    more: dict[tuple[Any, ...], float] = defaultdict(float)
    for row in rows:
        for label in (row["method_label"], row["against"]):
            cell = (label, *(row[name] for name in SIDES[1:]))
            more[cell] = max(more[cell], row["needed"] - row["seeds"])
    known = {cell: n for cell, n in more.items() if math.isfinite(n)}
    return sum(known.values()), sum(n * seconds.get(cell, math.nan) for cell, n in known.items() if n)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": row["method_label"],
        "against": row["against"],
        "dataset": row["dataset_label"],
        "d": row["dim"],
        "network": row["network"],
        "what": row["what"],
        "ratio": f"{row['ratio']:.3g}",
        "within": "-" if math.isnan(row["within"]) else f"{row['within']:.0%}",
        "seeds": row["seeds"],
        "needed": "-" if math.isnan(row["needed"]) else f"{row['needed']:.0f}",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
