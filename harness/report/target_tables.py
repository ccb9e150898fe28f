"""Tables of the cost to reach a target, and a summary of every method over the whole study."""

from __future__ import annotations

from typing import Any

import numpy as np
from pandas import DataFrame, Series

from ebmark import stats
from ebmark.report import targets, words
from ebmark.report.cost_figures import by_label
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Grid, cells, records
from ebmark.report.tables import NOT_COUNTED
from ebmark.report.targets import GOAL, QUANTITIES


def reached(expected: DataFrame, quantity: str) -> Grid:
    """Methods x (target, data set, d): expected cost to the target, and how many runs reached it."""
    known = expected[expected[quantity].notna()]
    keys = [*GOAL, "dim"]
    columns = [tuple(row.values()) for row in records(known[keys].drop_duplicates().sort_values(keys))]
    body = {
        (str(row["label"]), row["goal"], row["dataset_label"], row["dim"]): _reached(row, quantity)
        for row in records(known)
    }
    rows = [
        cells(label, *(body.get((label, *key), "not run") for key in columns)) for label, _ in by_label(known)
    ]
    notes = {
        "passes": " §: without the work of its opponent." * bool(known["opposed"].any()),
        "seconds": f" {targets.TIME}",
    }
    caption = (
        f"Expected cost in {QUANTITIES[quantity]} to reach {targets.listed(columns)}: the cost of all runs "
        "over the number that reached it (reached / runs in brackets). ∞: fewer than 3, or fewer than 60 %, "
        "did. With fewer than 3 runs no cost is stated. ‡: the method's noise is the truth on that data, or "
        f"its opponent starts there.{notes[quantity]}"
    )
    several = known.groupby("dataset_label")["goal"].nunique() > 1
    names = [f"{goal}: {dataset}" if several[dataset] else dataset for goal, dataset, _ in columns]
    head = ["method", *(f"{name}, d = {d}" for name, (_, _, d) in zip(names, columns, strict=True))]
    title = f"Expected cost in {QUANTITIES[quantity]}"
    return Grid(name=f"target_{quantity}", title=title, caption=caption, head=head, rows=rows, tidy=known)


def _reached(row: dict[str, Any], quantity: str) -> str:
    text = words.seconds if quantity == "seconds" else words.number
    share = f"{row['hits']}/{row['runs']}"
    mark = "‡" * row["own_noise"] + "§" * (quantity == "passes" and row["opposed"])
    return (
        f"{share} reached{mark}"
        if row["runs"] < stats.MIN_SEEDS
        else f"{text(row[quantity])} ({share}){mark}"
    )


def growth(fits: DataFrame) -> Grid:
    """Exponents of the expected cost to a target."""
    rows, tidy = [], []
    for row in records(fits):
        fit = row.pop("fit")
        tidy.append({**row, **vars(fit)})
        what = f"{row['dataset_label']}: {row['goal']}"
        rows.append(cells(str(row["label"]), what, QUANTITIES[row["quantity"]], words.exponent(fit)))
    caption = (
        "Growth of the expected cost to the target with d; only where it is finite at 3 sizes, and in passes "
        "only without an opponent, whose work they leave out."
    )
    head = ["method", "target", "cost in", "grows as"]
    return Grid(
        name="target_growth",
        title="Growth of the cost to a target",
        caption=caption,
        head=head,
        rows=rows,
        tidy=DataFrame(tidy),
    )


def _iqm(values: Series) -> float:
    """The interquartile mean of what may be ranked; NaN where nothing may."""
    known = values.dropna()
    return float(stats.iqm(known.to_numpy())) if len(known) else np.nan


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
        iqm=("value", _iqm),
        uncounted=("uncounted", "any"),
    )
    tidy = tidy.reset_index()
    rows = [
        cells(
            str(row["label"]),
            *(str(row[n]) for n in ("runs", "failed", "untrusted")),
            words.number(row["iqm"]) + "§" * row["uncounted"],
        )
        for row in records(tidy)
    ]
    what = f"{words.named(metric, per_dim=True)} over {words.counted(len(shared), 'cell')}"
    caption = (
        f"Interquartile mean of {what} (data set and dimension) and their seeds: the middle half, a failed "
        "run counting as the worst, ∞ once more than a quarter failed. It mixes unlike data sets and has no "
        f"interval: a description, not a ranking.{NOT_COUNTED * bool(tidy['uncounted'].any())}"
    )
    head = ["method", "runs", "failed", "untrusted", "interquartile mean"]
    return Grid(
        name="summary",
        title=f"{words.titled(metric, per_dim=True)}, all cells together",
        caption=caption,
        head=head,
        rows=rows,
        tidy=tidy,
    )
