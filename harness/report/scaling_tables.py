"""Tables of the cost to a quality as d grows: who is cheaper where, which k, what the time is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark.report import words
from ebmark.report.cost_figures import by_label
from ebmark.report.grid import Grid, cells, records
from ebmark.report.names import natural
from ebmark.report.scaling import BEST, leader
from ebmark.report.targets import GOAL, QUANTITIES

HINDSIGHT = "CD's best is chosen at each d after the fact from all settings run, which favours CD."
CLOCK = " clock: the time measured in the run itself, where it ran alone."


def _where(goal: str, dataset: str) -> str:
    return f"{dataset}: {goal}"


def _columns(frame: DataFrame) -> list[tuple[str, str]]:
    found = [(row["goal"], row["dataset_label"]) for row in records(frame[GOAL].drop_duplicates())]
    return sorted(found, key=lambda key: (natural(key[1]), key[0]))


def crossovers(versus: DataFrame, quantity: str) -> Grid:
    """Methods without chains x targets: CD's best over the method at both ends, and where they are equal."""
    columns = _columns(versus)
    body = {(str(row["label"]), row["goal"], row["dataset_label"]): _versus(row) for row in records(versus)}
    labels = [label for label, _ in by_label(versus)]
    meets = [vars(meet) if meet else {} for meet in versus["meet"]]
    names = {"dim": "meet", "lo": "meet_lo", "hi": "meet_hi", "measured": "meet_measured"}
    tidy = versus.drop(columns="meet").join(DataFrame(meets, index=versus.index).rename(columns=names))
    return Grid(
        name="cd_crossovers",
        title="CD at its best against each method without chains",
        caption=f"Cost of CD over that of the method, in {QUANTITIES[quantity]}, at the smallest and the "
        "largest d that both reach: above 1 the method is cheaper. Then the d at which they cost the "
        "same, with Fieller's 95 % interval, where the fitted lines meet in the measured range and their "
        f"slopes can be told apart. –: not run, or not compared (‡: it starts at the truth). {HINDSIGHT}",
        head=["method", *(_where(*key) for key in columns)],
        rows=[cells(label, *(body.get((label, *key), "–") for key in columns)) for label in labels],
        tidy=tidy,
    )


def _versus(row: dict[str, Any]) -> str:
    if not row["d_first"]:
        alone = [("CD alone", row["cd_only"]), ("the method alone", row["other_only"])]
        return (
            ", ".join(f"{who} reaches it at {words.counted(n, 'size')}" for who, n in alone if n) or "neither"
        )
    ends = f"{words.number(row['first'])} at d = {row['d_first']}"
    if row["d_last"] != row["d_first"]:
        ends += f", {words.number(row['last'])} at {row['d_last']}"
    meet = row["meet"]
    if meet is not None and meet.measured and np.isfinite(meet.hi):
        lo, hi = words.number(meet.lo), words.number(meet.hi)
        ends += f"; equal at {words.number(meet.dim)} [{lo}, {hi}]"
    gone = [f"{who} fails at {n}" for who, n in (("CD", row["other_only"]), ("it", row["cd_only"])) if n]
    return "; ".join([ends, *gone])


def best_k(rows: DataFrame, quantity: str) -> Grid:
    """Targets x dimensions: CD's best setting, what it costs, and over the cheapest method without chains."""
    cells_ = leader(rows)
    dims = sorted(cells_["dim"].unique())
    text = words.seconds if quantity == "seconds" else words.number

    def one(row: dict[str, Any]) -> str:
        if not np.isfinite(row["cost_cd"]):
            return (
                f"not reached ({row['label']} {text(row['cost'])})"
                if np.isfinite(row["cost"])
                else "not reached"
            )
        other = (
            "alone"
            if not np.isfinite(row["cost"])
            else f"{words.number(row['cost_cd'] / row['cost'])} × {row['label']}"
        )
        return f"{row['of']} {text(row['cost_cd'])} ({other})"

    body = {(row["goal"], row["dataset_label"], row["dim"]): one(row) for row in records(cells_)}
    return Grid(
        name="cd_best",
        title="The best setting of CD, and the cheapest without chains",
        caption=f"Expected cost in {QUANTITIES[quantity]} of the cheapest setting of CD; in brackets how "
        f"many times the cheapest method without chains costs. {HINDSIGHT}",
        head=["target", *(f"d = {d}" for d in dims)],
        rows=[cells(_where(*key), *(body.get((*key, d), "–") for d in dims)) for key in _columns(cells_)],
        tidy=cells_,
    )


def growth(fits: DataFrame, quantity: str) -> Grid:
    """Labels x targets: the exponent of the cost in d."""
    columns = _columns(fits)
    body = {(row["label"], row["goal"], row["dataset_label"]): row["fit"] for row in records(fits)}
    tidy = DataFrame([{**row, **vars(row.pop("fit"))} for row in records(fits)])
    order = [BEST, *(label for label in dict.fromkeys(fits["label"]) if label != BEST)]
    labels = [label for label in order if any(key[0] == label for key in body)]
    return Grid(
        name="scaling_growth",
        title="Growth of the cost to a target",
        caption=f"Exponent of d of the cost in {QUANTITIES[quantity]}, with its 95 % interval: by the "
        "runs, one that did not reach the target counting as dearer than all it spent (a Tobit "
        f"likelihood). “local”: fewer than 6 sizes. –: reached at fewer than 3. {HINDSIGHT}",
        head=["method", *(_where(*key) for key in columns)],
        rows=[
            cells(
                label,
                *(words.exponent(body[label, *key]) if (label, *key) in body else "–" for key in columns),
            )
            for label in labels
        ],
        tidy=tidy,
    )


def parts(runs: DataFrame) -> Grid:
    """Labels x targets at the largest d that most reach: steps, seconds per step, the product, the clock."""
    hit = runs[runs["reached"] & runs["cost_seconds"].notna() & (runs["hit_step"] > 0)]
    reach = hit.groupby([*GOAL, "dim"])["label"].nunique().reset_index()
    most = reach[reach["label"] == reach.groupby(GOAL)["label"].transform("max")].groupby(GOAL)["dim"].max()
    hit = hit.merge(most.rename("most").reset_index(), on=GOAL)
    hit = hit[hit["dim"] == hit["most"]]
    means = hit.assign(each=hit["cost_seconds"] / hit["hit_step"]).groupby(
        [*GOAL, "dim", "label"], observed=True
    )
    tidy = means[["hit_step", "each", "cost_seconds", "hit_clock"]].agg(_geometric).reset_index()
    keys = [
        (row["goal"], row["dataset_label"], row["dim"])
        for row in records(tidy[[*GOAL, "dim"]].drop_duplicates())
    ]
    body = {
        (str(row["label"]), row["goal"], row["dataset_label"], row["dim"]): _parts(row)
        for row in records(tidy)
    }
    labels = [label for label, _ in by_label(tidy)]
    return Grid(
        name="cost_parts",
        title="What the time to a target is made of",
        caption="Steps to the target × seconds of a step measured alone = time: geometric means over the "
        f"runs that reached it, failures not charged here.{CLOCK * bool(tidy['hit_clock'].notna().any())}",
        head=["method", *(f"{_where(goal, dataset)}, d = {d}" for goal, dataset, d in keys)],
        rows=[cells(label, *(body.get((label, *key), "–") for key in keys)) for label in labels],
        tidy=tidy,
    )


def _geometric(values: pd.Series) -> float:
    known = values[values > 0]
    return float(np.exp(np.log(known).mean())) if len(known) else np.nan


def _parts(row: dict[str, Any]) -> str:
    clock = "" if np.isnan(row["hit_clock"]) else f"; clock {words.seconds(row['hit_clock'])}"
    product = f"{words.number(row['hit_step'])} × {words.seconds(row['each'])}"
    return f"{product} = {words.seconds(row['cost_seconds'])}{clock}"
