"""The tables made ready: labels, joins and the few derived columns that every figure and table rests on.

Tidy frames are the only currency of the report. Each row keeps its status: what failed stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ebmark.errors import StoreError
from ebmark.report.names import family, method_labels, natural, variant
from ebmark.store import read_samples

CELL = [
    "method_label",
    "dataset_label",
    "dim",
    "network",
    "network_args",
    "batch",
]  # what a step's cost depends on
NAMING = [
    "label",
    "method",
    "dataset",
    "dataset_label",
    "dim",
    "seed",
    "status",
    "lane",
    "oracle",
    "own_noise",
]
TEXT = ["reason", "distrust", "network", "network_args", "optimiser", "method_args", "dataset_label", "code"]


class Tables(Protocol):
    """What a results folder holds: frames with the columns of ``ebmark.record``.

    The samples come as a frame ``samples`` or lie in ``folder``; ``warnings`` names damaged parts, if any.
    """

    @property
    def trials(self) -> DataFrame:
        """One row per trial."""

    @property
    def curve(self) -> DataFrame:
        """One row per checkpoint and metric."""

    @property
    def env(self) -> DataFrame:
        """One row per environment."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything the report is a function of.

    Attributes:
        title: of the page.
        spec: the parsed study file, empty where there is none.
        trials: one row per trial, with ``label`` (ordered), ``family``, ``k``, ``oracle``, ``own_noise``
            (nce's noise is the truth) and ``chain`` (the method runs Markov chains).
        curve: one row per checkpoint and metric, with the names of its trial and ``seconds_cost``.
        cost: the rows from which the cost of a step is read, see ``_cost``.
        env: one row per environment.
        samples: samples and lattice of a trial by its id, empty where it has none.
        warnings: damaged parts of the tables.
        seeds: the smallest and the largest number of seeds planned for a cell of the quality lane.
        orphans: rows of the curve that belong to no stored attempt.
    """

    title: str
    spec: Mapping[str, Any]
    trials: DataFrame
    curve: DataFrame
    cost: DataFrame
    env: DataFrame
    samples: Callable[[str], DataFrame]
    warnings: tuple[str, ...]
    seeds: tuple[int, int]
    orphans: int

    @property
    def quality(self) -> DataFrame:
        """Trials of the quality lane."""
        return self.trials[self.trials["lane"] == "quality"]

    @property
    def labels(self) -> list[str]:
        """Labels in their order."""
        return [str(label) for label in self.trials["label"].cat.categories]


def load(tables: Tables, spec: Mapping[str, Any] | None, title: str) -> Study:
    """Joins the tables of a study.

    Raises:
        StoreError: there is no trial.
    """
    if tables.trials.empty:
        raise StoreError("report: the table of trials is empty; run a study first: ebmark run SPEC")
    trials = _trials(tables.trials)
    step = _step_seconds(trials)
    joined = trials[["id", "attempt", *NAMING, *dict.fromkeys([*CELL[:1], *CELL[3:]])]]
    curve = tables.curve.merge(joined.merge(step, on=CELL, how="left"), on=["id", "attempt"], how="inner")
    curve["trusted"] = _bool(curve["trusted"])
    curve["seconds_cost"] = curve["step"] * curve["step_time"]
    curve["per_dim"] = curve["value"] / curve["dim"]
    planned = trials[(trials["lane"] == "quality") & (trials["status"] != "skipped")]
    seeds = planned.groupby(["label", "dataset_label", "dim"], observed=True)["seed"].nunique()
    return Study(
        title=title,
        spec=spec or {},
        trials=trials.merge(step, on=CELL, how="left"),
        curve=curve,
        cost=_cost(trials),
        env=tables.env,
        samples=_samples(tables),
        warnings=getattr(tables, "warnings", ()),
        seeds=(int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0),
        orphans=len(tables.curve) - len(curve),
    )


def _samples(tables: Tables) -> Callable[[str], DataFrame]:
    frame: DataFrame | None = getattr(tables, "samples", None)
    if frame is None:
        return partial(read_samples, getattr(tables, "folder"))  # noqa: B009
    rows = frame.groupby("id").indices
    return lambda id: frame.iloc[rows.get(id, [])]


def _bool(column: Series) -> Series:
    """Missing counts as not trusted."""
    return column.map({True: True, False: False}).fillna(False).astype(bool)


def _trials(raw: DataFrame) -> DataFrame:
    trials = raw.assign(
        **{name: raw[name].fillna("").astype(str) for name in TEXT}, trusted=_bool(raw["trusted"])
    )
    for name in ("dim", "batch", "seed"):
        trials[name] = trials[name].fillna(-1).astype(int)
    trials["label"] = method_labels(trials).astype(str) + variant(trials)
    order = sorted(trials["label"].unique(), key=natural)
    trials["label"] = pd.Categorical(trials["label"], categories=order, ordered=True)
    settings = {text: json.loads(text or "{}") for text in trials["method_args"].unique()}
    trials["k"] = trials["method_args"].map({text: args.get("k", np.nan) for text, args in settings.items()})
    trials["k"] = pd.to_numeric(trials["k"], errors="coerce")
    scale = trials["method_args"].map({text: args.get("scale", 1) for text, args in settings.items()})
    trials["own_noise"] = (trials["method"] == "nce") & (trials["dataset"] == "gaussian") & (scale == 1)
    chains = trials.loc[(trials["wall_sampling"] > 0) | (trials["transitions"] > 0), "label"].unique()
    trials["chain"] = trials["label"].isin(chains)
    trials["oracle"] = trials["method"] == "mle"
    families = {label: family(label) for label in order}
    trials["family"] = trials["label"].astype(str).map(families)
    return trials.sort_values(["label", "dataset_label", "dim", "seed", "repeat", "id"], ignore_index=True)


def _step_seconds(trials: DataFrame) -> DataFrame:
    """Geometric mean of the trusted seconds per step of each cell, as ``step_time``."""
    use = trials[(trials["lane"] == "cost") & (trials["status"] == "ok") & trials["trusted"]]
    logs = use.assign(step_time=np.log(use["step_seconds"])).groupby(CELL)[["step_time"]].mean().reset_index()
    return logs.assign(step_time=np.exp(logs["step_time"].to_numpy(float)))


def _cost(trials: DataFrame) -> DataFrame:
    """The sweep over dimensions: rows of the data set and network that come in the most dimensions.

    The cost lane where there is one, else the quality lane for its passes alone. Adds ``seconds`` per step,
    ``passes`` in F per point and step, and ``share`` of the training time inside samplers.
    """
    lane = "cost" if (trials["lane"] == "cost").any() else "quality"
    rows = trials[trials["lane"] == lane]
    dims = rows.groupby(["dataset_label", "network"])["dim"].nunique().reset_index()
    best = dims.sort_values("dim", ascending=False, kind="stable").iloc[:1]
    rows = rows.merge(best[["dataset_label", "network"]], on=["dataset_label", "network"])
    timed = rows["status"] == "ok"
    return rows.assign(
        seconds=rows["step_seconds"].where(timed & (lane == "cost")),
        passes=(rows["passes"] / rows["steps"] / rows["batch"]).where(timed),
        share=(rows["wall_sampling"] / rows["wall"]).where(timed & (lane == "cost")),
    )


def finals(study: Study, metric: str) -> DataFrame:
    """The value of ``metric`` at the last checkpoint of every run that is ok."""
    rows = study.curve[(study.curve["lane"] == "quality") & (study.curve["status"] == "ok")]
    last = rows.groupby("id")["step"].transform("max")
    return rows[(rows["step"] == last) & (rows["metric"] == metric)].drop_duplicates("id")
