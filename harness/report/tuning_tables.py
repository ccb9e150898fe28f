"""Tables of tuning: each method at its own rate and at the best one, what was chosen, and what it cost."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.cost_figures import by_label
from ebmark.report.grid import Grid, cells, records
from ebmark.report.names import natural
from ebmark.report.targets import GOAL, QUANTITIES


def tuned(own: DataFrame, best: DataFrame, choices: DataFrame, quantity: str) -> list[Grid]:
    """One table per target and data set: each method at its own rate, at the chosen one, and tuning's cost.

    Args:
        own: from ``targets.expected`` at the methods' own rates.
        best: likewise at the chosen rates.
        choices: ``Study.choices``.
        quantity: seconds or passes.
    """
    keys = [*GOAL, "label", "dim"]
    both = own.merge(best, on=keys, suffixes=("", "_tuned"), how="outer").merge(
        choices.drop(columns="value"),
        on=["label", "dataset_label", "dim"],
        how="left",
        suffixes=("", "_tuning"),
    )
    return [
        _side_by_side(part, goal, dataset, i, quantity)
        for i, ((goal, dataset), part) in enumerate(_by_target(both))
    ]


def _by_target(frame: DataFrame) -> list[tuple[tuple[str, str], DataFrame]]:
    parts = [((str(key[0]), str(key[1])), part) for key, part in frame.groupby(GOAL)]
    return sorted(parts, key=lambda part: (natural(part[0][1]), part[0][0]))


def _side_by_side(part: DataFrame, goal: str, dataset: str, i: int, quantity: str) -> Grid:
    dims = sorted(part["dim"].unique())
    text = words.seconds if quantity == "seconds" else words.number
    rows = []
    for label, mine in by_label(part):
        body = {row["dim"]: _both(row, quantity, text) for row in records(mine)}
        spent, clock = mine["passes_tuning"].sum(), mine["seconds_tuning"].sum()
        cost = [f"{words.number(spent)} F", words.seconds(clock)] if spent else ["–", "–"]
        rows.append(cells(label, *(body.get(d, "not run") for d in dims), *cost))
    return Grid(
        name=f"tuned_{i + 1}",
        title=f"Own and best rate on {dataset}: {goal}",
        caption=f"Expected cost in {QUANTITIES[quantity]} (reached / runs) at the method's own rate → at "
        "the rate that was chosen, which is so many times the own one. *: at the end of the ladder, a "
        "wider one might do better. Last: the work of the trials that chose, over all d, and their "
        "training time by the clock of packed runs; the costs before it leave it out.",
        head=["method", *(f"d = {d}" for d in dims), "tuning, passes", "tuning, time"],
        rows=rows,
        tidy=part,
    )


def _both(row: dict[str, Any], quantity: str, text: Any) -> str:
    own, best = (_share(row, quantity, text, end) for end in ("", "_tuned"))
    if pd.isna(row["factor"]):
        return f"{own} (not tuned)"
    if not row["known"]:
        return f"{own} (own rate stands: {row['note']})"
    factor = f"× {row['factor']:.2g}{'*' * ('end' in str(row['note']))}"
    return f"{own} (best as it is)" if row["factor"] == 1 else f"{own} → {best} ({factor})"


def _share(row: dict[str, Any], quantity: str, text: Any, end: str) -> str:
    if pd.isna(row[f"runs{end}"]):
        return "not run"
    cost = row[f"{quantity}{end}"]
    share = f"{row[f'hits{end}']:.0f}/{row[f'runs{end}']:.0f}"
    few = row[f"runs{end}"] < stats.MIN_SEEDS
    return f"{share} reached" if few or pd.isna(cost) else f"{text(cost)} ({share})"


def ladder(choices: DataFrame) -> Grid:
    """Labels x data sets: the chosen factors in the order of d, and what all of it cost."""
    datasets = sorted(choices["dataset_label"].unique(), key=natural)
    rows = []
    for label, mine in by_label(choices):
        body = {str(name): part.sort_values("dim") for name, part in mine.groupby("dataset_label")}
        texts = [
            ", ".join(_factor(row) for row in records(body[name])) if name in body else "–"
            for name in datasets
        ]
        work = f"{words.number(mine['passes'].sum())} F", words.seconds(mine["seconds"].sum())
        rows.append(cells(label, *texts, str(mine["tried"].sum()), str(mine["failed"].sum()), *work))
    return Grid(
        name="tuning",
        title="Rates chosen, and what choosing cost",
        caption="The chosen rate over the method's own, at each d in order. *: at the end of the ladder. "
        "≈: a tie, the nearest to the own rate is taken. –: no rate gave a value, and the own one stands. "
        "Tuning passes and training time are those of all trials that chose; no other table charges them.",
        head=["method", *datasets, "trials", "failed", "passes", "time"],
        rows=rows,
        tidy=choices,
    )


def _factor(row: dict[str, Any]) -> str:
    if not row["known"]:
        return "–"
    return f"{row['factor']:.2g}" + "*" * ("end" in row["note"]) + "≈" * ("tie" in row["note"])
