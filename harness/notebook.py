"""What results look like in a notebook: small tables of HTML, without styles of their own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from ebmark.fitted import Fit
    from ebmark.results import Results

CELL = ["method_label", "dataset_label", "dim"]


def results_html(results: Results) -> str:
    """A folder at a glance: for each method and data set the trials, their cost and their last values."""
    counts = ", ".join(f"{n} {status}" for status, n in sorted(results.counts.items())) or "no trials"
    head = f"<p><b>{escape(str(results.folder))}</b>: {counts}</p>"
    return head + summary(results).to_html(index=False, float_format=lambda x: f"{x:.3g}", na_rep="")


def summary(results: Results) -> pd.DataFrame:
    """Per method and data set of the quality lane: trials, those that are ok, medians of cost and metrics.

    A median is of the trusted values at the last checkpoints of trials that are ok.
    """
    trials = results.trials[results.trials["lane"] == "quality"]
    ok = trials[trials["status"] == "ok"]
    groups = trials.groupby(CELL, sort=False)
    made = groups.size().rename("trials").to_frame()
    made["ok"] = ok.groupby(CELL, sort=False).size()
    made["ok"] = made["ok"].fillna(0).astype(int)
    made["seconds"] = ok.groupby(CELL, sort=False)["wall"].median()
    made["passes"] = ok.groupby(CELL, sort=False)["passes"].median()
    curve = results.curve[results.curve["trusted"] & ~results.curve["metric"].str.startswith("log_")]
    last = curve.merge(ok[["id", "steps", *CELL]], left_on=["id", "step"], right_on=["id", "steps"])
    last = last[last["source"].isin(["", "smc"])]
    for metric, rows in last.groupby("metric", sort=False):
        made[metric] = rows.groupby(CELL, sort=False)["value"].median()
    return made.reset_index().rename(columns={"method_label": "method", "dataset_label": "data set"})


def fit_html(fit: Fit) -> str:
    """What was trained, what it cost and what was measured at its end."""
    training = {phase: s for phase, s in fit.seconds.items() if phase != "evaluation"}
    phases = ", ".join(f"{phase} {s:.2g} s" for phase, s in training.items() if s)
    head = (
        f"<p><b>{escape(repr(fit.method))}</b><br>{fit.steps} steps, {fit.passes.total:.3g} F, "
        f"{sum(training.values()):.3g} s ({phases})</p>"
    )
    curve = fit.curve
    if curve.empty:
        return head
    last = curve[curve["step"] == fit.steps]
    columns = ["metric", "source", "value", "se", "trusted", "reasons"]
    return head + last[columns].to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="")
