"""A page per data set: every method on it, what it reached, what it cost and how its runs ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark.report import words
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, cells, records
from ebmark.report.names import natural
from ebmark.report.section import Section

CELL = ["dataset_label", "dim", "label"]
METRICS = {"fisher": True, "kl": False, "nll": False, "energy_distance": False, "mode_weights": False}


def section(study: Study, expected: DataFrame) -> Section:
    """The parts, one per data set.

    Args:
        study: the study.
        expected: costs to the targets, from ``targets.expected``; may be empty.
    """
    table = _table(study)
    names = sorted(table["dataset_label"].unique(), key=natural)
    parts = [_part(table[table["dataset_label"] == name], str(name), expected) for name in names]
    text = ["All methods on one data set after another; every table can be sorted and filtered."]
    return Section(anchor="data", title="Data set by data set", text=text, parts=parts)


def _table(study: Study) -> DataFrame:
    """One row per data set, d and label of the quality lane: counts, cost, and metrics with their errors."""
    trials = study.quality
    tidy = trials.groupby(CELL, observed=True).agg(
        runs=("id", "size"),
        ok=("status", lambda status: int((status == "ok").sum())),
        skipped=("status", lambda status: int((status == "skipped").sum())),
        passes=("passes", "median"),
        pass_time=("pass_time", "median"),
        own_noise=("own_noise", "any"),
        oracle=("oracle", "any"),
    )
    tidy["seconds"] = tidy["passes"] * tidy["pass_time"]
    rows = study.final[study.final["metric"].isin([*METRICS])].drop_duplicates(["id", "metric"])
    per_dim = rows["metric"].isin([name for name, divided in METRICS.items() if divided])
    scale = rows["dim"].where(per_dim, 1)
    rows = rows.assign(**{name: rows[name] / scale for name in ("value", "se", "lo", "hi")})
    values = rows.groupby([*CELL, "metric"], observed=True).agg(
        value=("value", "mean"), sd=("value", "std"), n=("value", "count"), one=("se", "mean"),
        trusted=("trusted", "all"), lo=("lo", "min"), hi=("hi", "max"),
    )  # fmt: skip
    values["se"] = (values["sd"] / np.sqrt(values["n"])).where(values["n"] > 1, values["one"])
    for metric in values.index.get_level_values("metric").unique():
        own = values.xs(metric, level="metric")[["value", "se", "lo", "hi", "trusted"]]
        tidy = tidy.join(own.add_prefix(f"{metric}_"))
    return tidy.reset_index()


def _part(table: DataFrame, name: str, expected: DataFrame) -> Section:
    metrics = [
        metric for metric in METRICS if f"{metric}_value" in table and table[f"{metric}_value"].notna().any()
    ]
    timed = table["seconds"].notna().any()
    goals = expected[expected["dataset_label"] == name] if len(expected) else DataFrame()
    hits = _hits(goals)
    head = ["method", "d", "ok", *(["time of a run"] if timed else []), "passes of a run"]
    head += [words.titled(metric, per_dim=METRICS[metric]) for metric in metrics]
    head += ["reached the target"] if hits else []
    rows = []
    for row in records(table.sort_values(["dim", "label"])):
        line = [str(row["label"]), str(row["dim"]), _ok(row)]
        line += [words.seconds(row["seconds"])] if timed else []
        line += [f"{words.number(row['passes'])} F", *(_value(row, metric) for metric in metrics)]
        line += [hits.get((str(row["label"]), row["dim"]), "–")] if hits else []
        rows.append(cells(*line))
    slug = re.sub(r"\W+", "_", name).strip("_")
    grid = Grid(
        name=f"data_{slug}",
        title=name,
        caption="Means ± standard error over seeds at the end of the runs that are ok (with one seed, of the "
        "evaluation). ok: of the runs that were started. Time: passes × the seconds of a step measured "
        "alone. [ ]†: untrusted. ‡: starts at the truth. Nothing is ranked here.",
        head=head,
        rows=rows,
        tidy=table,
    )
    dims = ", ".join(str(d) for d in sorted(table["dim"].unique()))
    started = int((table["runs"] - table["skipped"]).sum())
    methods = words.counted(table["label"].nunique(), "method")
    text = f"{words.counted(started, 'run')} of {methods}, {int(table['ok'].sum()):,} ok."
    return Section(anchor=f"data-{slug}", title=f"{name} (d = {dims})", text=[text], grids=[grid])


def _hits(goals: DataFrame) -> Mapping[tuple[str, int], str]:
    """How many runs reached the targets, by label and d."""
    if goals.empty:
        return {}
    found: dict[tuple[str, int], list[str]] = {}
    for row in records(goals.sort_values("goal")):
        found.setdefault((str(row["label"]), row["dim"]), []).append(f"{row['hits']}/{row['runs']}")
    return {key: "; ".join(texts) for key, texts in found.items()}


def _ok(row: dict[str, Any]) -> str:
    started = row["runs"] - row["skipped"]
    return f"{row['ok']}/{started}" if started else "declined"


def _value(row: dict[str, Any], metric: str) -> str:
    value, se, lo, hi = (row[f"{metric}_{name}"] for name in ("value", "se", "lo", "hi"))
    if pd.isna(value):
        return "–"
    text = words.measured(value, se, lo, hi, trusted=bool(row[f"{metric}_trusted"]))
    return f"{text}‡" if row["own_noise"] else text
