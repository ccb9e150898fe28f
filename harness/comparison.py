"""Two sets of results against each other, pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark import registry, stats
from ebmark.api import Metric
from ebmark.errors import EbmarkError
from ebmark.record import FAILED
from ebmark.stats import Array
from ebmark.tables import Tables

METHOD = ["lane", "method_label", "method_args"]
PLACE = ["dataset_label", "dataset_args", "dim", "network", "network_args"]
PAIR = ["seed", "repeat", "rate_factor"]
SOURCES = ("", "smc")  # what may be ranked: the energy, and samples by the sampler that all share
DIAGNOSTIC = "log_"
SPEED = "step_seconds"
RATIOS = (SPEED, "fisher")  # positive by definition: compared as ratios
MARKS = {
    "+": "B is better",
    "-": "B is worse",
    "~": "not told apart",
    "!": "cannot be compared, the note says why",
}


def compare(a: Tables, b: Tables) -> list[dict[str, Any]]:
    """The rows of the comparison: names, ``what``, centres, the difference, its test and its mark.

    A row for every method, data set, dimension and network, and before them one for every method over all of
    those (``dataset_label``, ``dim`` and ``network`` None). Paired by these with all settings, seed, repeat
    and rate. A failed run is worse than every other and in no mean; values that are not trusted are left out.
    Holm's adjustment is over the rows of one quantity, of either kind apart.
    """
    both = values(a).merge(values(b), on=[*METHOD, *PLACE, "what", *PAIR], suffixes=("_a", "_b"))
    both = both.dropna(subset=["value_a", "value_b"])
    both["place"] = both.groupby(PLACE, dropna=False).ngroup()
    return [*_rows(both, METHOD), *_rows(both, [*METHOD, *PLACE])]


def _rows(both: DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """The rows of the groups by ``names``; where those leave out the data set, only of several sets."""
    found: list[dict[str, Any]] = []
    for what, part in both.groupby("what", sort=True):
        groups = part.groupby(names, sort=True, dropna=False)
        slot = groups.cumcount().to_numpy()
        table = groups.agg(
            failed_a=("failed_a", "sum"),
            failed_b=("failed_b", "sum"),
            host_a=("host_a", _hosts),
            host_b=("host_b", _hosts),
            places=("place", "nunique"),
        ).reset_index()
        a, b = (np.full((len(table), slot.max() + 1), np.nan) for _ in range(2))
        a[groups.ngroup(), slot], b[groups.ngroup(), slot] = part["value_a"], part["value_b"]
        here = [
            {"what": what, **cell, **numbers}
            for cell, numbers in zip(table.to_dict("records"), _numbers(str(what), a, b), strict=True)
            if "dim" in names or cell["places"] > 1
        ]
        for row, p in zip(here, stats.holm(np.array([row["p"] for row in here])), strict=True):
            found.append(_finished(row, float(p)))
    return sorted(found, key=lambda row: [str(row[name]) for name in METHOD] + [row["dim"] or 0, row["what"]])


def _hosts(column: pd.Series[str]) -> str:
    return " ".join(sorted(set(column.dropna())))


def values(tables: Tables) -> DataFrame:
    """Columns METHOD, PLACE, PAIR, ``what``, ``value`` (NaN: not trusted), ``failed`` and ``host``."""
    trials = tables.trials.merge(tables.env[["env", "host"]], on="env", how="left")
    trials["rate_factor"] = trials["rate_factor"].astype(float).fillna(1.0)
    trials["failed"] = trials["status"].isin(FAILED)
    trials = trials[trials["failed"] | (trials["status"] == "ok")]
    cost = trials[trials["lane"] == "cost"]
    seconds = cost["step_seconds"].astype(float).where(cost["trusted"].fillna(False).astype(bool))
    frame = pd.concat([_metrics(tables, trials), cost.assign(what=SPEED, value=seconds)])
    frame["value"] = frame["value"].where(~frame["failed"], np.inf)
    return frame[[*METHOD, *PLACE, *PAIR, "what", "value", "failed", "host"]].drop_duplicates(
        [*METHOD, *PLACE, *PAIR, "what"]
    )


def _metrics(tables: Tables, trials: DataFrame) -> DataFrame:
    """The final metrics of the quality lane: a row for every metric that any run of its data set has."""
    quality = trials[trials["lane"] == "quality"]
    curve = tables.curve.assign(what=tables.curve["metric"].astype(str))
    ranked = curve["source"].astype(object).fillna("").isin(SOURCES)
    curve = curve[ranked & ~curve["what"].str.startswith(DIAGNOSTIC)]
    last = curve[curve["step"] == curve.groupby("id")["step"].transform("max")]
    values = last["value"].astype(float).where(last["trusted"].fillna(False).astype(bool))
    ends = last.assign(value=values)[["id", "what", "value"]].drop_duplicates(["id", "what"])
    taken = ends.merge(quality[["id", *PLACE]], on="id")[[*PLACE, "what"]].drop_duplicates()
    return quality.merge(taken, on=PLACE).merge(ends, on=["id", "what"], how="left")


def _numbers(what: str, a: Array, b: Array) -> list[dict[str, Any]]:
    """What is computed of each row from its pairs ``(rows, n)``; p is not yet adjusted."""
    log = what in RATIOS and bool((a[~np.isnan(a)] > 0).all() and (b[~np.isnan(b)] > 0).all())
    sign = -1.0 if _higher(what) else 1.0
    # a failure is +inf and a larger value worse, whichever way the metric goes
    worse_a, worse_b = (np.where(np.isposinf(x), x, sign * x) for x in (a, b))
    found = stats.paired(worse_b, worse_a, log=log)
    ends = np.sort([sign * found.difference.lo, sign * found.difference.hi], axis=0)
    both = np.isfinite(a) & np.isfinite(b)
    columns = {
        "a": stats.t_interval(np.where(both, a, np.nan), log=log).centre,
        "b": stats.t_interval(np.where(both, b, np.nan), log=log).centre,
        "difference": sign * found.difference.centre,
        "lo": ends[0],
        "hi": ends[1],
        "effect": found.effect,
        "better": found.below.centre,  # share of the pairs, with its interval
        "better_lo": found.below.lo,
        "better_hi": found.below.hi,
        "p": found.p,
    }
    return [
        {"ratio": log, "pairs": int(found.pairs[i]), **{name: float(x[i]) for name, x in columns.items()}}
        for i in range(len(a))
    ]


def _finished(row: Mapping[str, Any], p: float) -> dict[str, Any]:
    """A row with its adjusted p, its mark, and the fields of a row over all data sets too."""
    mark, note = _mark({**row, "p": p})
    return {
        "lane": row["lane"],
        "method_label": row["method_label"],
        "method_args": row["method_args"],
        "dataset_label": row.get("dataset_label"),
        "network": row.get("network"),
        "dim": row.get("dim"),
        "same_machine": row["host_a"] == row["host_b"],
        **{
            name: value
            for name, value in row.items()
            if name not in (*METHOD, *PLACE, "places", "host_a", "host_b")
        },
        "p": p,
        "mark": mark,
        "note": note,
    }


def _higher(what: str) -> bool:
    """Whether more of it is better; a metric of a file that is not at hand counts as lower is better."""
    try:
        return what != SPEED and cast(type[Metric], registry.get("metric", what)).better == "higher"
    except EbmarkError:
        return False


def _mark(row: Mapping[str, Any]) -> tuple[str, str]:
    """The mark of a row, and why there is no other."""
    notes = []
    if row["failed_a"] or row["failed_b"]:
        notes.append(f"failed: {row['failed_a']} in A, {row['failed_b']} in B")
    if row["what"] == SPEED and row["host_a"] != row["host_b"]:
        return "!", "; ".join([*notes, "measured on different machines"])
    if row["effect"] == 0 and row["lo"] == row["hi"]:
        return "~", "; ".join([*notes, "identical"])
    if row["pairs"] < stats.MIN_PAIRS:
        return "!", "; ".join([*notes, f"too few seeds: {row['pairs']}, {stats.MIN_PAIRS} needed"])
    if row["p"] < stats.ALPHA:
        return "+" if row["effect"] < 0 else "-", "; ".join(notes)
    return "~", "; ".join(notes)
