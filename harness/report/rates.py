"""Which rate the tables speak for, per method and cell, and which runs are at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pandas import DataFrame

from ebmark.tuning import Choice, candidates, choose, metric_name

TUNED = ["label", "dataset_label", "dim"]  # what a rate is chosen for
BY = "log_density_mse"  # by what it is chosen where the study file is not at hand


def choices(trials: DataFrame, curve: DataFrame, spec: Mapping[str, Any]) -> DataFrame:
    """One row per method and cell that was tuned: ``factor``, ``value``, ``note`` and what tuning cost there.

    ``tried`` and ``failed`` count its trials; ``passes`` and ``seconds`` are those of their training, the
    seconds by the clock of packed runs.
    """
    tried = candidates(trials, curve, metric_name(spec.get("tune", {}).get("by", BY)))
    tried = tried[tried["status"] != "cancelled"]
    groups = tried.groupby(TUNED, observed=True)
    rows, whole = [], groups.size().max()
    for key, part in groups:
        # In the middle of a run: what is chosen from some of the rates may not be what will be.
        choice = choose(part) if len(part) == whole else Choice(factor=1.0, note="not all rates tried yet")
        failed = ~part["status"].isin(["ok", "skipped"])
        found = {"factor": choice.factor, "value": choice.value, "known": choice.known, "note": choice.note}
        work = {"passes": part["passes"].sum(), "seconds": part["wall"].sum()}
        counts = {"tried": len(part), "failed": int(failed.sum())}
        declined = bool((part["status"] == "skipped").all())
        rows += [] if declined else [dict(zip(TUNED, key, strict=True)) | found | counts | work]
    return DataFrame(rows)


def at_choice(results: DataFrame, chosen: DataFrame) -> DataFrame:
    """The cost lane, and of the quality lane the runs at the chosen rate, at the own one where none is."""
    factor = results[TUNED].merge(chosen[[*TUNED, "factor"]], on=TUNED, how="left")["factor"].fillna(1.0)
    return results[(results["lane"] == "cost") | (results["rate_factor"] == factor.to_numpy())]
