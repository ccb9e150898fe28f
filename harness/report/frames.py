"""The tables made ready: joined, and split into what may be compared and what may not.

Tidy frames are the only currency of the report. Each row keeps its status: what failed stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any, Protocol

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark.errors import StoreError
from ebmark.report import derived, rates
from ebmark.report.derived import CELL
from ebmark.roundsfile import Rounds, read_rounds
from ebmark.store import read_samples
from ebmark.tuning import metric_name

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
    "opposed",
    "uncounted",
]
PRIMARY = ("", "smc")  # sources of what may be ranked: the energy, and the samples that all share one sampler
LOG = "log_"  # begins the name of a diagnostic


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
        trials: one row per trial, with ``label`` (ordered), ``without_k``, ``k``, ``oracle``, ``own_noise``
            (the method's noise is the truth, or its opponent starts there), ``chain`` (the method runs
            Markov chains), ``opposed`` (an opponent works beside the energy) and ``uncounted`` (it does so
            beyond a budget that counts the energy's passes).
        curve: one row per checkpoint and metric of the energy, with the names of its trial and
            ``seconds_cost``. Nothing else may enter a comparison.
        generated: such rows for samples from elsewhere, such as a method's own generator.
        logs: such rows for the diagnostics of the methods, ``metric`` without its ``log_``.
        cost: the rows from which the cost of a step is read, see ``derived.cost_rows``.
        env: one row per environment.
        samples: samples and lattice of a trial by its id, empty where it has none.
        warnings: damaged parts of the tables.
        seeds: the smallest and the largest number of seeds planned for a cell of the quality lane.
        orphans: rows of the curve that belong to no stored attempt.
        choices: where the study tunes, one row per method and cell: see ``rates.choices``.
        tuned: the same study with the runs at the chosen rates in the place of those at the methods' own;
            None where it does not tune.
        rounds: how seeds were added until the comparisons were narrow; None where they were not.
    """

    title: str
    spec: Mapping[str, Any]
    trials: DataFrame
    curve: DataFrame
    generated: DataFrame
    logs: DataFrame
    cost: DataFrame
    env: DataFrame
    samples: Callable[[str], DataFrame]
    warnings: tuple[str, ...]
    seeds: tuple[int, int]
    orphans: int
    choices: DataFrame = field(default_factory=DataFrame)
    tuned: Study | None = None
    rounds: Rounds | None = None

    @property
    def quality(self) -> DataFrame:
        """Trials of the quality lane."""
        return self.trials[self.trials["lane"] == "quality"]

    @cached_property
    def final(self) -> DataFrame:
        """Rows of ``curve`` at the last checkpoint of every quality run that is ok."""
        return at_end(self.curve)

    @cached_property
    def final_logs(self) -> DataFrame:
        """Likewise of ``logs``."""
        return at_end(self.logs)

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
    trials = derived.ready(tables.trials)
    orphans = int((_places(tables.curve, trials) < 0).sum())
    results = trials[trials["lane"] != "tune"]
    study = _study(results[results["rate_factor"] == 1], tables, spec or {}, title, orphans)
    folder = getattr(tables, "folder", None)
    study = replace(study, rounds=read_rounds(folder) if folder else None)
    choices = rates.choices(trials, tables.curve, spec or {})
    if choices.empty:
        return study
    tuned = _study(rates.at_choice(results, choices), tables, spec or {}, title, orphans)
    return replace(study, choices=choices, tuned=tuned)


def _study(trials: DataFrame, tables: Tables, spec: Mapping[str, Any], title: str, orphans: int) -> Study:
    """The study as these trials show it."""
    time = derived.pass_seconds(trials)
    trials = trials.merge(time, on=CELL, how="left")
    rows = _rows(tables.curve, trials)
    found = pd.Series(rows["metric"].cat.categories)
    diagnostics = found[found.str.startswith(LOG) & ~found.isin(_metrics(spec))]
    log, primary = rows["metric"].isin(diagnostics), rows["source"].isin(PRIMARY)
    logs = rows[log]
    names = logs["metric"].cat.remove_unused_categories()
    planned = trials[(trials["lane"] == "quality") & (trials["status"] != "skipped")]
    seeds = planned.groupby(["label", "dataset_label", "dim"], observed=True)["seed"].nunique()
    return Study(
        title=title,
        spec=spec,
        trials=trials,
        curve=rows[~log & primary],
        generated=rows[~log & ~primary],
        logs=logs.assign(metric=names.cat.rename_categories(lambda name: name.removeprefix(LOG))),
        cost=derived.cost_rows(trials),
        env=tables.env,
        samples=_samples(tables),
        warnings=getattr(tables, "warnings", ()),
        seeds=(int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0),
        orphans=orphans,
    )


def _places(curve: DataFrame, trials: DataFrame) -> np.ndarray:
    """The position in ``trials`` of each row of the curve, -1 where its attempt is not there."""
    place = pd.Index(trials["id"]).get_indexer(pd.Index(curve["id"]))
    same = trials["attempt"].to_numpy()[place] == curve["attempt"].to_numpy()
    return np.where(same, place, -1)


def _rows(curve: DataFrame, trials: DataFrame) -> DataFrame:
    """The curve of these trials with their names; text as categories, which take little."""
    place = _places(curve, trials)
    rows = curve[place >= 0].drop(columns=["attempt"])
    place = place[place >= 0]
    rows["id"] = pd.Categorical.from_codes(place, categories=pd.Index(trials["id"]))
    for name in ("metric", "source", "reasons"):
        rows[name] = rows[name].fillna("").astype(str).astype("category")
    for name in dict.fromkeys([*NAMING, *CELL, "pass_time"]):
        column = trials[name]
        text = not (pd.api.types.is_numeric_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype))
        rows[name] = (column.astype("category") if text else column).array.take(place)
    rows["trusted"] = derived.flag(rows["trusted"])
    rows["seconds_cost"] = rows["passes"] * rows["pass_time"]
    rows["per_dim"] = rows["value"] / rows["dim"]
    return rows


def _metrics(spec: Mapping[str, Any]) -> set[str]:
    """Names of the study's metrics, without settings and file: no diagnostics, whatever they begin with."""
    own = (entry.get("metrics", []) for entry in spec.get("datasets", []))
    return {metric_name(str(text)) for text in (*spec.get("metrics", []), *chain.from_iterable(own))}


def _samples(tables: Tables) -> Callable[[str], DataFrame]:
    frame: DataFrame | None = getattr(tables, "samples", None)
    if frame is None:
        return partial(read_samples, getattr(tables, "folder"))  # noqa: B009
    rows = frame.groupby("id").indices
    return lambda id: frame.iloc[rows.get(id, [])]


def at_end(rows: DataFrame) -> DataFrame:
    """Of rows like ``Study.curve``, those of the last checkpoint of every quality run that is ok."""
    rows = rows[(rows["lane"] == "quality") & (rows["status"] == "ok")]
    return rows[rows["step"] == rows.groupby("id", observed=True)["step"].transform("max")]


def finals(study: Study, metric: str) -> DataFrame:
    """The energy's value of ``metric`` at the end of every run that is ok; one row per run.

    Samples of a method's own generator have no place here: they are in ``Study.generated``.
    """
    rows = study.final
    return rows[rows["metric"] == metric].drop_duplicates("id")
