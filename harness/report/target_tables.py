"""Tables of the cost to reach a target, and a summary of every method over the whole study."""

from __future__ import annotations

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Grid, cells
from ebmark.report.targets import GOAL, QUANTITIES


def reached(expected: DataFrame, quantity: str) -> Grid:
    """Methods x (target, data set, d): expected cost to the target, and how many runs reached it."""
    text = words.seconds if quantity == "seconds" else words.number
    known = expected[expected[quantity].notna()]
    keys = [*GOAL, "dim"]
    columns = list(known[keys].drop_duplicates().sort_values(keys).itertuples(index=False, name=None))
    body = {(str(row.label), row.goal, row.dataset_label, row.dim): row for row in known.itertuples()}
    rows = []
    for label in known["label"].cat.categories:
        texts = []
        for key in columns:
            row = body.get((label, *key))
            cost = "" if row is None else text(getattr(row, quantity))
            texts.append("not run" if row is None else f"{cost} ({row.hits}/{row.runs})")
        if any(key in body for key in ((label, *column) for column in columns)):
            rows.append(cells(label, *texts))
    goals = list(dict.fromkeys(goal for goal, _, _ in columns))
    caption = (
        f"Expected cost to {words.listed(goals)} in {QUANTITIES[quantity]}: the cost of all runs over the "
        "number that reached it (reached / runs in brackets). ∞: fewer than 3, or fewer than 60 %, did."
    )
    prefix = {goal: f"{goal}: " if len(goals) > 1 else "" for goal in goals}
    head = ["method", *(f"{prefix[goal]}{dataset}, d = {d}" for goal, dataset, d in columns)]
    return Grid(name=f"target_{quantity}", caption=caption, head=head, rows=rows, tidy=known)


def growth(fits: DataFrame) -> Grid:
    """Exponents of the expected cost to a target."""
    rows = [
        cells(r.label, f"{r.dataset_label}: {r.goal}", QUANTITIES[r.quantity], words.exponent(r.fit))
        for r in fits.itertuples()
    ]
    tidy = DataFrame([{**row, **vars(row.pop("fit"))} for row in fits.to_dict("records")])
    caption = "Growth of the expected cost to the target with d; only where it is finite at 3 sizes."
    head = ["method", "target", "cost in", "grows as"]
    return Grid(name="target_growth", caption=caption, head=head, rows=rows, tidy=tidy)


def summary(study: Study, metric: str) -> Grid:
    """Interquartile mean of the final metric per dimension over the cells that every method ran."""
    runs = study.quality[~study.quality["oracle"] & ~study.quality["status"].isin(["skipped", "cancelled"])]
    final = finals(study, metric).set_index("id")
    runs = runs.merge(final[["dataset_label", "dim"]].drop_duplicates(), on=["dataset_label", "dim"])
    value = runs["id"].map(final["per_dim"].where(final["trusted"]))
    runs = runs.assign(value=value.where(runs["status"] == "ok", np.inf))
    per_cell = runs.groupby(["dataset_label", "dim"])["label"].nunique()
    shared = per_cell[per_cell == per_cell.max()].reset_index()[["dataset_label", "dim"]]
    runs = runs.merge(shared, on=["dataset_label", "dim"])
    tidy = runs.groupby("label", observed=True).agg(
        runs=("id", "size"),
        failed=("status", lambda status: int((status != "ok").sum())),
        untrusted=("value", lambda value: int(value.isna().sum())),
        iqm=("value", lambda value: float(stats.iqm(value.dropna().to_numpy()))),
    )
    tidy = tidy.reset_index()
    rows = [
        cells(str(r.label), str(r.runs), str(r.failed), str(r.untrusted), words.number(r.iqm))
        for r in tidy.itertuples()
    ]
    what = f"{words.named(metric, per_dim=True)} over {words.counted(len(shared), 'cell')}"
    caption = (
        f"Interquartile mean of {what} (data set and dimension) and their seeds: the middle half, a failed run "
        "counting as the worst, ∞ once more than a quarter failed. It mixes unlike data sets and has no "
        "interval: a description, not a ranking."
    )
    head = ["method", "runs", "failed", "untrusted", "interquartile mean"]
    return Grid(name="summary", caption=caption, head=head, rows=rows, tidy=tidy)
