"""Cost to reach a target quality, per run and as an expected running time per cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.frames import Study

QUANTITIES = {"passes": "passes in F", "seconds": "measured seconds"}
TIME = (
    "Time: passes × the seconds of a step measured alone, over its passes. Where a player rests in some "
    "steps, their mix can differ from the measured one: time is taken as proportional to the energy's passes."
)
SURVIVED = [
    "ok",
    "timeout",
]  # a run that diverged, crashed or ran out of memory is no result, wherever it had been
GOAL = ["goal", "dataset_label"]


def describe(target: Mapping[str, Any]) -> str:
    """``Fisher divergence / d ≤ 0.05``; ``≥`` where more is better."""
    name = words.named(str(target["metric"]), per_dim=bool(target.get("per_dim")))
    sign = "≥" if target["metric"] in words.HIGHER else "≤"
    return f"{name} {sign} {float(target['value']):g}"


def listed(goals: Iterable[Sequence[str]]) -> str:
    """Pairs of a goal and a data set as text, a goal named once: ``Fisher divergence ≤ 0.05 on a and b``."""
    sets: dict[str, dict[str, None]] = {}
    for goal, dataset, *_ in goals:
        sets.setdefault(goal, {})[dataset] = None
    return "; ".join(f"{goal} on {words.listed([*names])}" for goal, names in sets.items())


def runs(study: Study) -> DataFrame:
    """One row per target and run of the quality lane: did it reach the target, and at what cost.

    Columns of the trial, ``goal``, ``reached``, ``cost_passes`` and ``cost_seconds``: up to the first
    checkpoint at or below the target, else all that the run cost; NaN seconds where the cost of a step is not
    known. ``hit_step`` is the step of that checkpoint, ``hit_clock`` the clock there where it is trusted.
    Cells in which the metric has no value are left out, and so are trials skipped by declaration.
    """
    found = [_runs(study, target) for target in study.spec.get("target", [])]
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True) if found else DataFrame()


def _runs(study: Study, target: Mapping[str, Any]) -> DataFrame:
    rows = study.curve[(study.curve["metric"] == target["metric"]) & (study.curve["lane"] == "quality")]
    if name := target.get("dataset"):
        rows = rows[(rows["dataset"] == name) | (rows["dataset_label"] == name)]
    measured = rows.loc[rows["value"].notna(), ["dataset_label", "dim"]].drop_duplicates()
    trials = study.quality.merge(measured, on=["dataset_label", "dim"])
    trials = trials[~trials["status"].isin(["skipped", "cancelled"])]
    quality = rows["per_dim" if target.get("per_dim") else "value"]
    bar = float(target["value"])
    enough = quality >= bar if target["metric"] in words.HIGHER else quality <= bar
    hits = rows[enough & rows["trusted"] & rows["status"].isin(SURVIVED)]
    first = hits.groupby("id", observed=True)[["passes", "seconds_cost", "step", "wall"]].min()
    last = study.curve.groupby("id", observed=True)[["passes", "seconds_cost"]].max()
    reached = trials["id"].isin(first.index)
    spent_passes = trials["passes"].fillna(trials["id"].map(last["passes"])).fillna(0.0)
    known_seconds = (trials["passes"] * trials["pass_time"]).fillna(trials["id"].map(last["seconds_cost"]))
    spent_seconds = known_seconds.fillna(trials["pass_time"] * 0)
    return trials.assign(
        goal=describe(target),
        reached=reached,
        cost_passes=trials["id"].map(first["passes"]).where(reached, spent_passes),
        cost_seconds=trials["id"].map(first["seconds_cost"]).where(reached, spent_seconds),
        hit_step=trials["id"].map(first["step"]),
        hit_clock=trials["id"].map(first["wall"]).where(trials["trusted"]),
    )


def expected(reaching: DataFrame) -> DataFrame:
    """One row per target, label, data set and dimension: ``runs``, ``hits`` and both expected costs.

    ``spent_passes`` and ``spent_seconds`` are what all runs cost together: where the target was not reached,
    the least that it costs. A cost of 0 is what is charged for a failed run that left no record of its work.
    """
    keys = [*GOAL, "label", "dim"]
    groups = reaching.groupby(keys, observed=True)
    flags = {name: (name, "first") for name in ("method", "k", "oracle", "own_noise", "opposed", "chain")}
    table = groups.agg(runs=("id", "size"), hits=("reached", "sum"), **flags)
    slot = groups.cumcount().to_numpy()
    for quantity in QUANTITIES:
        cost = np.full((len(table), slot.max() + 1), np.nan)
        hit = np.zeros(cost.shape, dtype=bool)
        row = table.index.get_indexer(pd.MultiIndex.from_frame(reaching[keys]))
        cost[row, slot] = reaching[f"cost_{quantity}"]
        hit[row, slot] = reaching["reached"]
        known = ~np.isnan(cost).all(-1)
        table[quantity] = np.where(known, stats.ert(cost, hit), np.nan)
        table[f"spent_{quantity}"] = np.where(known, np.nansum(cost, -1), np.nan)
    return table.reset_index()


def exponents(table: DataFrame) -> DataFrame:
    """Fitted growth with d of the expected costs: goal, data set, label, quantity and the ``fit``.

    None in passes for a method with an opponent, whose work they leave out.
    """
    rows = [
        (*key, quantity, stats.scaling_exponent(part["dim"].to_numpy(float), part[quantity].to_numpy(float)))
        for key, part in table.groupby([*GOAL, "label"], observed=True)
        for quantity in QUANTITIES
        if quantity != "passes" or not part["opposed"].any()
    ]
    fits = DataFrame(rows, columns=[*GOAL, "label", "quantity", "fit"])
    return fits[[fit.sizes >= 3 for fit in fits["fit"]]]
