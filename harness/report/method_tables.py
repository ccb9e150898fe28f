"""Tables of what the methods say of themselves: own generators, diagnostics, work of their opponents."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ebmark.report import words
from ebmark.report.frames import Study, at_end
from ebmark.report.grid import Grid, cells, records

CELL = ["label", "dataset_label", "dim"]
ENERGY = "energy"  # stands for the source of the energy's own samples
SOURCES = {ENERGY: "energy", "own_generator": "own generator", "short_run": "short chains"}
# In the order of the columns: title of a diagnostic, and what to know when reading it.
DIAGNOSTICS = {
    "acceptance": (
        "acceptance",
        "An acceptance far from its aim (0.574 for mala, 0.65 for hmc) means a bad step.",
    ),
    "displacement": ("displacement", ""),
    "h": ("step h", ""),
    "accuracy": (
        "accuracy",
        "An accuracy near 1 means that the gap between noise and data is too wide to learn from.",
    ),
    "overlap": ("overlap", "Overlap of model and noise: 0.5 where they are equal, 0 where they are apart."),
    "c": ("c", ""),
    "ess": ("ess", "ess: effective share of the weighted points, 1 at best."),
    "projected_variance": ("projected variance", ""),
    "loss": (
        "loss",
        "A loss is on its method's own scale and compares with no other; of two players' neither need fall.",
    ),
    "z_own": (
        "own log Z",
        "Own log Z is a learned constant or, for adversarial and vera, a bound: never a likelihood.",
    ),
    "z_gap": (
        "log Z − own",
        "log Z − own is the error of a learned constant, and for adversarial and vera KL(q|p).",
    ),
}
OPPONENT = "loss_"  # begins the diagnostic that is an opponent's own loss
KINDS = {
    "forward": "forwards",
    "input_gradient": "input gradients",
    "second_order": "second order",
    "backward": "backwards",
}


def generators(study: Study) -> Grid:
    """Sample metrics of the methods' own generators beside those of the energy's samples."""
    other = at_end(study.generated)
    mine = study.final
    mine = mine[mine["id"].isin(other["id"]) & mine["metric"].isin(other["metric"])].assign(source=ENERGY)
    tidy = _means(pd.concat([mine, other]))
    metrics = [str(metric) for metric in tidy["metric"].unique()]
    found = [ENERGY, *sorted(set(tidy["source"]) - {ENERGY})]
    columns = [(metric, source) for metric in metrics for source in (*found, "floor")]
    rows = []
    for key, part in tidy.groupby(CELL, observed=True):
        label, dataset, d = map(str, key)
        values = {(row["metric"], row["source"]): _value(row) for row in records(part)}
        floors = part.dropna(subset="floor_mean").drop_duplicates("metric")
        values |= {
            (row["metric"], "floor"): words.plus_minus(row["floor_mean"], row["floor_sd"])
            for row in records(floors)
        }
        rows.append(cells(label, f"{dataset}, d = {d}", *(values.get(column, "–") for column in columns)))
    return Grid(
        name="own_generators",
        title="Samples of the methods' own generators beside the energy's own",
        caption="Mean ± standard error over seeds at the end of the runs that are ok. energy: samples of the "
        "fitted energy by the sampler that all methods share, and alone compared between methods; those of a "
        "generator never stand for them. floor: the metric between independent true samples, ± its standard "
        "deviation. [ ]†: untrusted, its interval. Nothing here is ranked.",
        head=["method", "data", *(f"{words.named(m)}: {SOURCES.get(s, s)}" for m, s in columns)],
        rows=rows,
        tidy=tidy,
    )


def _means(rows: DataFrame) -> DataFrame:
    """Mean, standard error (with one seed, of the evaluation) and floor over the runs of a cell."""
    rows = rows.drop_duplicates(["id", "metric", "source"])
    table = rows.groupby([*CELL, "metric", "source"], observed=True).agg(
        n=("value", "count"),
        mean=("value", "mean"),
        sd=("value", "std"),
        one=("se", "mean"),
        trusted=("trusted", "all"),
        lo=("lo", "min"),
        hi=("hi", "max"),
        floor_mean=("floor_mean", "mean"),
        floor_sd=("floor_sd", "mean"),
    )
    se = (table["sd"] / np.sqrt(table["n"])).where(table["n"] > 1, table["one"])
    return table.assign(se=se).drop(columns=["sd", "one"]).reset_index()


def _value(row: dict[str, Any]) -> str:
    return words.measured(row["mean"], row["se"], row["lo"], row["hi"], trusted=row["trusted"])


def diagnostics(study: Study) -> Grid:
    """Methods x diagnostics: the median at the end of the runs, and how it differs between data sets."""
    rows = study.final_logs.drop_duplicates(["id", "metric"])
    tidy = rows.groupby([*CELL, "metric"], observed=True).agg(
        n=("value", "count"),
        median=("value", "median"),
        lo=("value", "min"),
        hi=("value", "max"),
        trusted=("trusted", "all"),
    )
    names = sorted(set(rows["metric"]), key=_place)
    body = {
        (str(label), metric): _spread(part)
        for (label, metric), part in rows.groupby(["label", "metric"], observed=True)
    }
    labels = list(dict.fromkeys(label for label, _ in body))
    notes = " ".join(note for name, (_, note) in DIAGNOSTICS.items() if note and name in names)
    return Grid(
        name="diagnostics",
        title="What the methods log of themselves",
        caption="Median over seeds and data sets at the end of the runs that are ok; in parentheses the "
        "smallest and the largest of the medians per data set and dimension, which the CSV file has. [ ]†: "
        f"some are untrusted. None of these measures quality. {notes}".strip(),
        head=["method", *(_diagnostic(name) for name in names)],
        rows=[cells(label, *(body.get((label, name), "–") for name in names)) for label in labels],
        tidy=tidy.reset_index(),
    )


def _place(name: str) -> tuple[int, str]:
    """Sort key of the columns: the losses of opponents beside that of the energy, unknown ones last."""
    order = [*DIAGNOSTICS]
    known = "loss" if name.startswith(OPPONENT) else name
    return order.index(known) if known in order else len(order), name


def _diagnostic(name: str) -> str:
    """The title of a column: ``loss_flow`` is the loss of an opponent called flow."""
    if name.startswith(OPPONENT):
        return f"loss of the {name.removeprefix(OPPONENT)}"
    return DIAGNOSTICS.get(name, (name,))[0]


def _spread(rows: DataFrame) -> str:
    """The median, and the range of the medians per data set and dimension where that differs."""
    medians = rows.groupby(["dataset_label", "dim"], observed=True)["value"].median()
    text, lo, hi = (words.number(x) for x in (rows["value"].median(), medians.min(), medians.max()))
    text = text if lo == hi else f"{text} ({lo} to {hi})"
    return text if rows["trusted"].all() else f"[{text}]†"


def opponents(study: Study) -> Grid:
    """Method x opponent: work on the opponent's own network per data point and step, beside the energy's."""
    runs = study.trials[(study.trials["status"] == "ok") & (study.trials["steps"] > 0)]
    found = [
        {"label": row["label"], "player": player, "energy": row["passes"] / points}
        | {kind: work.get(kind, 0.0) / points for kind in KINDS}
        for row in records(runs[["label", "opponents", "passes", "steps", "batch"]])
        for points in [row["steps"] * row["batch"]]
        for player, work in json.loads(row["opponents"] or "{}").items()
    ]
    rows = DataFrame(found, columns=["label", "player", *KINDS, "energy"])
    kinds = [kind for kind in KINDS if kind in ("forward", "backward") or rows[kind].any()]
    columns = [*kinds, "energy"]
    groups = rows.groupby(["label", "player"], sort=False)
    lines = [
        cells(str(label), str(player), *(_range(part[column]) for column in columns))
        for (label, player), part in groups
    ]
    return Grid(
        name="opponents",
        title="Work of the opponents",
        caption="Per data point and step, in forwards of the opponent's own network (a backward pass costs "
        "about two), beside the passes of the energy in F; a range where runs differ. The passes of an "
        "opponent are not in F: compare the wall-clock of such a method, not its passes.",
        head=["method", "opponent", *(KINDS[kind] for kind in kinds), "energy, F"],
        rows=lines,
        tidy=groups[columns].mean().reset_index(),
    )


def _range(values: Series) -> str:
    lo, hi = values.min(), values.max()
    return words.work(lo) if hi - lo <= 0.01 * hi else f"{words.work(lo)} to {words.work(hi)}"
