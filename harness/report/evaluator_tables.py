"""How well log Z is measured: runs whose model is the truth, where its error is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark.report import words
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, cells, records
from ebmark.report.section import Section

PERFECT, GAP = "truth", "z_gap"  # the network, and log Z minus the known one
LEAST_SE = 0.02  # nats: an error bar is not held to less


def evaluators(study: Study) -> Section | None:
    """The section on runs with a known log Z, None where there are none."""
    runs = _runs(study)
    if runs.empty:
        return None
    trusted = runs[runs["trusted"]]
    text = [
        f"In {words.counted(len(runs), 'run')} the model is the truth with a known log Z: what is measured "
        "is the error of the evaluators."
    ]
    if len(trusted):
        held = f"{int(trusted['held'].sum()):,} of {words.counted(len(trusted), 'trusted estimate')}"
        largest = words.number(trusted["value"].abs().max())
        text.append(
            f"{held} of log Z lie within three standard errors of it; the largest error is {largest} nats."
        )
    return Section(anchor="evaluators", title="How well log Z is measured", text=text, grids=[_table(runs)])


def _runs(study: Study) -> DataFrame:
    """One row per run: the error of log Z, as ``value``, with its interval, whether it held, what it cost."""
    rows = study.final_logs
    rows = rows[(rows["metric"] == GAP) & (rows["network"] == PERFECT)].drop_duplicates("id")
    spent = study.final.groupby("id", observed=True)[["gradients", "seconds"]].sum()
    rows = rows.drop(columns=["gradients", "seconds"]).merge(
        spent, left_on="id", right_index=True, how="left"
    )
    return rows.assign(
        held=rows["value"].abs() <= 3 * rows["se"].clip(lower=LEAST_SE),
        inside=(rows["lo"] <= 0) & (rows["hi"] >= 0),
    )


def _table(runs: DataFrame) -> Grid:
    groups = runs.groupby(["dataset_label", "dim"], observed=True)
    tidy = groups.agg(
        runs=("id", "size"),
        rms=("value", lambda e: float(np.sqrt(np.mean(np.square(e))))),
        worst=("value", lambda e: e.abs().max()),
        se=("se", "mean"),
        held=("held", "mean"),
        inside=("inside", "mean"),
        trusted=("trusted", "mean"),
        gradients=("gradients", "mean"),
        seconds=("seconds", "mean"),
    ).reset_index()
    head = [
        "target",
        "d",
        "runs",
        "rms error",
        "largest",
        "reported",
        "within 3 se",
        "in the interval",
        "trusted",
    ]
    return Grid(
        name="evaluators",
        title="The error of log Z where it is known",
        caption=(
            "Errors of log Z in nats over all runs, trusted or not; the standard error that was reported "
            "(mean); shares within three of it (of at least 0.02) and inside the interval; work and time of "
            "one evaluation (mean)."
        ),
        head=[*head, "gradients", "seconds"],
        rows=[_row(row) for row in records(tidy)],
        tidy=tidy,
    )


def _row(row: dict[str, Any]) -> Any:
    errors = (words.number(row[name]) for name in ("rms", "worst", "se"))
    shares = (words.percent(row[name]) for name in ("held", "inside", "trusted"))
    named = (str(row["dataset_label"]), str(row["dim"]), str(row["runs"]))
    return cells(*named, *errors, *shares, f"{row['gradients']:,.0f}", words.seconds(row["seconds"]))
