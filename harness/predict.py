"""What a study will cost: predicted passes and seconds, without training anything.

A trial's time is its steps times the seconds per step of that cell where earlier tables have measured it,
else its passes times the seconds per pass of its network. Without any table a shipped one is used and marked
uncalibrated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pandas as pd

from ebmark import registry
from ebmark.api import Dataset, Method, Network, Passes
from ebmark.errors import StoreError
from ebmark.plan import plain_name
from ebmark.store import read
from ebmark.train import planned_steps
from ebmark.trial import Trial

_CELL = ["method_label", "dataset_label", "dim", "network"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Expected cost of one trial.

    Attributes:
        dim: of the data.
        steps: optimiser steps, NaN for a budget in seconds.
        passes: work in F, likewise.
        seconds: training and evaluation, the start of a worker not counted.
    """

    dim: int
    steps: float
    passes: float
    seconds: float


class Costs:
    """Seconds per step and per pass, from earlier tables or from the shipped one.

    Attributes:
        source: where the numbers come from, for the user.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._make = cache(registry.make)  # a plan has many trials of few plug-ins
        shipped = json.loads(resources.files("ebmark.studies").joinpath("costs.json").read_text())
        self.per_pass: dict[str, float] = dict(shipped["seconds_per_pass"])
        self.per_step: float = shipped["seconds_per_step"]
        self.evaluation: float = shipped["seconds_per_evaluation"]
        self.cells: Mapping[Any, float] = {}
        self.work: Mapping[Any, float] = {}  # F per point and step: less than declared where players rest
        self.source = "the shipped table (uncalibrated: measured on another machine)"
        tables = {folder: table for folder in folders if (table := _trials(folder)) is not None}
        if tables:
            self._calibrate(pd.concat(tables.values()))
            self.source = f"earlier tables ({', '.join(str(folder) for folder in tables)})"

    def _calibrate(self, trials: pd.DataFrame) -> None:
        ok = trials[(trials["status"] == "ok") & (trials["steps"] > 1)]
        seconds = ok["step_seconds"].fillna(ok["wall"] / (ok["steps"] - 1))
        self.cells = seconds.groupby([ok[name] for name in _CELL]).median().to_dict()
        work = ok["passes"] / ok["steps"] / ok["batch"]
        self.work = work.groupby([ok[name] for name in _CELL]).median().to_dict()
        per_pass = (ok["wall"] / ok["passes"]).groupby(ok["network"]).median()
        self.per_pass |= {str(network): float(seconds) for network, seconds in per_pass.items()}
        self.per_step = 0.0
        quality = ok[ok["lane"] == "quality"]
        if len(quality):
            self.evaluation = float(quality["wall_evaluation"].mean())

    def predict(self, trial: Trial) -> Prediction:
        """Steps, passes and seconds of a trial; nothing for one that its method declines."""
        method = cast(Method, self._make(trial.method))
        dataset = cast(Dataset, self._make(trial.dataset))
        if method.declines(dataset, cast(Network, self._make(trial.network))):
            return Prediction(dim=dataset.dim, steps=0, passes=0, seconds=0)
        if trial.lane == "cost":
            seconds = trial.budget.seconds or 0
            return Prediction(dim=dataset.dim, steps=math.nan, passes=math.nan, seconds=seconds)
        network = plain_name(trial.network.name)
        cell = (registry.label(trial.method), registry.label(trial.dataset), dataset.dim, network)
        work = self.work.get(cell, method.passes(dataset.dim).total)
        steps = planned_steps(trial.budget, Passes(forward=work))
        each = self.cells.get(cell)
        if each is None:
            per_pass = self.per_pass.get(network, max(self.per_pass.values()))
            each = trial.budget.batch * work * per_pass + self.per_step
        return Prediction(
            dim=dataset.dim,
            steps=steps,
            passes=steps * trial.budget.batch * work,
            seconds=min(steps * each, trial.budget.seconds or math.inf) + self.evaluation,
        )


def _trials(folder: Path) -> pd.DataFrame | None:
    try:
        return read(folder).trials
    except StoreError:
        return None


def wall_seconds(trials: Sequence[Trial], predictions: Sequence[Prediction], slots: int) -> float:
    """Wall-clock of a run: the other lanes packed on ``slots``, then the cost lane one at a time."""
    packed = alone = 0.0
    for trial, prediction in zip(trials, predictions, strict=True):
        if trial.lane == "cost":
            alone += prediction.seconds
        else:
            packed += prediction.seconds
    return packed / slots + alone
