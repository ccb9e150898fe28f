"""What a study will cost: predicted passes and seconds, from what earlier trials cost.

    seconds of a step = (overhead + passes as executed x seconds per pass) x factor of the method

Overhead and seconds per pass belong to a network and, the latter, to a dimension; they are fitted to the
cells that were measured (``ebmark.step_model``). The factor is what is left: 1 for a method that nothing is
known of. It, the executed share of the passes and the seconds of evaluation are interpolated in log d between
the sizes seen and held constant beyond them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd

from ebmark import registry
from ebmark.api import Dataset, Method, Metric, Network, Passes
from ebmark.costs import CELL, EVALUATION, KINDS, TOGETHER, Measured, shipped, sources
from ebmark.levels import Levels
from ebmark.locations import Location
from ebmark.plan import plain_name
from ebmark.step_model import StepModel
from ebmark.train import planned_steps
from ebmark.trial import Ref, Trial

# Where a number is looked up, the nearest relatives first.
_BY_METHOD = (
    ("method_label", "dataset_label", "net"),
    ("method_label", "net"),
    ("method_label", "network"),
    ("method_label",),
    ("method", "network"),
    ("method",),
)
_BY_PLACE = (
    ("method_label", "dataset_label", "net"),
    ("dataset_label", "net"),
    ("dataset_label",),
    ("network",),
    (),
)
_ALIKE = ["method_label", "network", "dim", "batch"]  # cells whose seconds compare from source to source
_FEWEST = 3  # such cells that say by how much two sources differ


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Expected cost of one trial.

    Attributes:
        dim: of the data.
        steps: optimiser steps, NaN for a budget in seconds.
        passes: work in F, likewise.
        seconds: the whole trial, the start of a worker not counted.
        basis: what the seconds of a step rest on: ``measured``, ``other sizes``, ``beyond the sizes seen``,
            ``kind of pass``, ``other networks``, ``unknown``, or ``none needed``.
    """

    dim: int
    steps: float
    passes: float
    seconds: float
    basis: str = "none needed"


class Costs:
    """Seconds per step and per evaluation from earlier trials.

    Args:
        measured: the sources; a cell is taken from the first that holds it, and the seconds of each later
            source are scaled by how those before it differ on the cells that both hold.
        calibrated: they come from this machine.

    Attributes:
        source: where the numbers come from, for the user.
    """

    def __init__(self, measured: Sequence[Measured], *, calibrated: bool = True) -> None:
        self._make = cache(registry.make)  # a plan has many trials of few plug-ins
        self._label = cache(registry.label)
        names = ", ".join(dict.fromkeys(one.name for one in measured))
        where = "" if calibrated else "the shipped table, uncalibrated: measured on another machine, "
        self.source = f"{where}{names}"
        # First what runs as most trials do; the rest gives shapes, and levels where there is nothing else.
        lanes = (("quality", "tune"), ("cost",), (TOGETHER,))
        frames = [one.steps[one.steps["lane"].isin(lane)] for lane in lanes for one in measured]
        frames = [frame for frame in frames if len(frame)] or frames[:1]
        steps = _folded(frames, ["step", "setup"], "step", CELL)
        evaluation = _folded([m.evaluation for m in measured], ["early", "last"], "last", [*CELL, "metric"])
        self._model = StepModel(steps)
        columns = (steps[name] for name in ("net", "network", "dim", "batch"))
        kinds = steps[[*KINDS]].to_numpy(float)
        base = [*map(self._model.seconds, *columns, kinds, steps["executed"])]
        self._factor = Levels(steps.assign(value=steps["step"] / base), _BY_METHOD)
        work = steps[[*KINDS]].sum(axis=1)
        self._executed = Levels(steps.assign(value=steps["executed"] / work), _BY_METHOD[:4])
        self._counted = Levels(steps.assign(value=work), _BY_METHOD[:4])
        self._setup = Levels(steps.assign(value=steps["setup"]), _BY_PLACE)
        self._metrics = {
            str(metric): tuple(Levels(rows.assign(value=rows[name]), _BY_PLACE) for name in EVALUATION)
            for metric, rows in evaluation.groupby("metric")
        }
        self._predictions: dict[tuple[Any, ...], Prediction] = {}

    @classmethod
    def beside(cls, folder: Location, pilot: Measured | None = None) -> Costs:
        """From a pilot run, the folder's own tables and those beside it; without any from the shipped one."""
        found = [*([pilot] if pilot is not None and len(pilot.steps) else []), *sources(folder)]
        return cls(found) if found else cls([shipped()], calibrated=False)

    def predict(self, trial: Trial) -> Prediction:
        """Steps, passes and seconds of a trial; nothing for one that its method declines."""
        cell = (trial.method, trial.dataset, trial.network, trial.budget, trial.lane, trial.metrics)
        key = (*cell, trial.checkpoints, trial.costly, trial.timeout)
        if key not in self._predictions:
            self._predictions[key] = self._predict(trial)
        return self._predictions[key]

    def _predict(self, trial: Trial) -> Prediction:
        method, dataset = cast(Method, self._make(trial.method)), cast(Dataset, self._make(trial.dataset))
        dim = dataset.dim
        try:
            declined = method.declines(dataset, cast(Network, self._make(trial.network)))
            declared = method.passes(dim)
        except Exception:  # noqa: BLE001  # a plug-in may raise anything; its trials will say what
            return Prediction(dim=dim, steps=math.nan, passes=math.nan, seconds=0, basis="unknown")
        if declined:
            return Prediction(dim=dim, steps=0, passes=0, seconds=0)
        where, limit = self._where(trial), trial.budget.seconds or math.inf
        setup = self._setup.at(where, dim) or 0.0
        most = trial.timeout or math.inf
        if trial.lane == "cost":
            return Prediction(dim=dim, steps=math.nan, passes=math.nan, seconds=min(setup + limit, most))
        each, work, basis = self._step(trial, method, declared, where)
        steps = planned_steps(trial.budget, Passes(forward=work))
        steps = steps if math.isfinite(steps) else math.nan
        seconds = limit if math.isnan(steps) else min(steps * each, limit)
        seconds += setup + self._evaluation(trial, where, dim)
        passes = steps * trial.budget.batch * work
        return Prediction(dim=dim, steps=steps, passes=passes, seconds=min(seconds, most), basis=basis)

    def _where(self, trial: Trial) -> dict[str, str]:
        return {
            "method": plain_name(trial.method.name),
            "method_label": self._label(trial.method),
            "dataset_label": self._label(trial.dataset),
            "network": plain_name(trial.network.name),
            "net": plain_name(trial.network.name) + trial.network.args,
        }

    def _step(
        self, trial: Trial, method: Method, declared: Passes, where: Mapping[str, str]
    ) -> tuple[float, float, str]:
        """Seconds of a step, F per point and step as it will be counted, and what they rest on."""
        dim = cast(Dataset, self._make(trial.dataset)).dim
        # Less than declared where players rest, by a share that does not depend on d.
        counted = self._counted.at(where, dim, per=lambda d: method.passes(d).total) or 1.0
        executed = counted * declared.total * (self._executed.at(where, dim) or 1.0)
        kinds = [getattr(declared, kind) for kind in KINDS]
        base = self._model.seconds(where["net"], where["network"], dim, trial.budget.batch, kinds, executed)
        basis = self._factor.basis(where, dim)
        if basis == "kind of pass" and not self._model.knows(where["network"]):
            basis = "other networks"
        return base * (self._factor.at(where, dim) or 1.0), counted * declared.total, basis

    def _evaluation(self, trial: Trial, where: Mapping[str, str], dim: int) -> float:
        """Seconds at all checkpoints.

        What several metrics share is in the row of the first that asked for it: where the trial does not take
        that metric, the sampler has to be paid by another.
        """
        asked = {plain_name(ref.name): ref for ref in trial.metrics}
        seconds, first = 0.0, (math.inf, 0.0, "")
        for name, (early, last, rank) in self._metrics.items():
            at_last = last.at(where, dim) or 0.0
            if name in asked or not _is_metric(name):
                # Costly metrics are taken at some checkpoints, in earlier tables at the last only.
                costly = (trial.costly - 1) * at_last if name in asked and self._samples(asked[name]) else 0.0
                seconds += max(trial.checkpoints * (early.at(where, dim) or 0.0), costly) + at_last
            if _is_metric(name) and self._samples(Ref(kind="metric", name=name)):
                first = min(first, (rank.at(where, dim) or 0.0, at_last, name))
        if first[2] not in asked and any(self._samples(ref) for ref in asked.values()):
            seconds += max(trial.costly, 1) * first[1]
        return seconds

    def _samples(self, ref: Ref) -> bool:
        needs = cast(Metric, registry.get("metric", ref.name)).needs
        return "samples" in needs or "log_z" in needs


def _is_metric(name: str) -> bool:
    return name in registry.names("metric")


def _folded(frames: Sequence[pd.DataFrame], seconds: list[str], pivot: str, cell: list[str]) -> pd.DataFrame:
    """All cells, each from the first frame that holds it; later frames scaled to those before them."""
    folded = frames[0]
    for frame in frames[1:]:
        alike = _ALIKE if pivot == "step" else [*_ALIKE, "dataset_label", "metric"]
        ours, theirs = (f.groupby(alike)[pivot].median() for f in (folded, frame))
        ratios = (ours / theirs).replace([0, np.inf], np.nan).dropna()
        factor = float(ratios.median()) if len(ratios) >= _FEWEST else 1.0
        new = frame[~pd.MultiIndex.from_frame(frame[cell]).isin(pd.MultiIndex.from_frame(folded[cell]))]
        new = new.assign(**{name: new[name] * factor for name in seconds})
        folded = pd.concat([folded, new]) if len(folded) else new
    return folded.reset_index(drop=True)


def wall_shares(trials: Sequence[Trial], costs: Costs, slots: int) -> dict[str, float]:
    """By id, the seconds each trial adds to a run's wall-clock; all but the cost lane share ``slots``."""
    return {t.id: costs.predict(t).seconds / (1 if t.lane == "cost" else slots) for t in trials}


def bases(predictions: Sequence[Prediction]) -> Counter[str]:
    """How many predictions rest on what."""
    return Counter(prediction.basis for prediction in predictions)
