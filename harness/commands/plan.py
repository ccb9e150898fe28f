"""``ebmark plan``."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ebmark import registry
from ebmark.bar import Bar
from ebmark.console import Console
from ebmark.costs import Measured
from ebmark.drive import missing, planned_lane, tuned, undecided
from ebmark.env import cores
from ebmark.locations import Location
from ebmark.predict import Costs, Prediction, bases, wall_shares
from ebmark.record import FAILED
from ebmark.showing import duration
from ebmark.store import done
from ebmark.study import Study
from ebmark.trial import Trial

COLUMNS = [
    "lane",
    "method",
    "dataset",
    "d",
    "network",
    "trials",
    "done",
    "failed",
    "missing",
    "passes",
    "time",
]


def show(console: Console, study: Study, folder: Location, measured: Measured | None = None) -> None:
    """The cells of a study, how many are done, failed or missing, and the predicted cost of the rest.

    Args:
        console: takes the table.
        study: to be run.
        folder: of its results.
        measured: in a pilot run.
    """
    trials = study.trials() + tuned(study, folder)
    stored = done(folder)
    statuses = dict(zip(stored["id"], stored["status"], strict=True))
    left = {job.trial.id for job in missing(trials, stored, lane=planned_lane(folder, trials, stored))}
    costs = Costs.beside(folder, measured)
    predictions = {trial.id: costs.predict(trial) for trial in Bar("plan").over(trials)}
    rows = _cells(trials, statuses, left, predictions)
    console.table(rows, COLUMNS)
    grounds = bases([predictions[trial.id] for trial in trials if trial.lane != "cost"])
    rest = _rest(study, folder, [trial for trial in trials if trial.id in left], costs)
    _say(console, len(trials), rest)
    console.say(f"costs from {costs.source}")
    console.say(
        "quality trials by what their time rests on: " + ", ".join(f"{n} {b}" for b, n in grounds.items())
    )
    console.document(
        {
            "study": study.name,
            "folder": str(folder),
            "trials": [
                {"id": t.id, "status": statuses.get(t.id), **_json(t, predictions[t.id])} for t in trials
            ],
            "missing": rest.trials,
            "undecided": rest.undecided,
            "cpu_hours": rest.work / 3600,
            "wall_seconds": rest.wall,
            "slots": rest.slots,
            "costs": costs.source,
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Rest:
    """What is left of a study on this machine.

    Attributes:
        trials: to run.
        work: seconds on one CPU.
        wall: seconds on all.
        slots: CPUs.
        undecided: trials that may follow at rates still to be chosen, at most.
        more: their seconds on one CPU.
    """

    trials: int
    work: float
    wall: float
    slots: int
    undecided: int
    more: float


def _rest(study: Study, folder: Location, todo: list[Trial], costs: Costs) -> _Rest:
    slots, follow = cores(), undecided(study, folder)
    return _Rest(
        trials=len(todo),
        work=sum(costs.predict(trial).seconds for trial in todo),
        wall=sum(wall_shares(todo, costs, slots).values()),
        slots=slots,
        undecided=len(follow),
        more=sum(costs.predict(trial).seconds for trial in follow),
    )


def _say(console: Console, planned: int, rest: _Rest) -> None:
    console.say(
        f"{planned} trials, {rest.trials} to run: {rest.work / 3600:.2g} CPU-hours, "
        f"about {duration(rest.wall)} on {rest.slots} CPUs"
    )
    if rest.undecided:
        console.say(
            f"up to {rest.undecided} more at rates still to be chosen: {rest.more / 3600:.2g} CPU-hours, "
            f"about {duration(rest.more / rest.slots)}"
        )


def measure(console: Console, study: Study) -> Measured:
    """What a pilot run of the study costs on this machine."""
    from ebmark.pilot import pilot
    from ebmark.runners.cluster import connect
    from ebmark.runners.placement import Need
    from ebmark.runners.ray import RayRunner

    need = Need(gpus=study.gpus, memory=study.memory)
    return pilot(study, lambda: RayRunner(connect(need=need)), console.say)


def _cells(
    trials: list[Trial], statuses: dict[str, str], left: set[str], predictions: dict[str, Prediction]
) -> list[dict[str, Any]]:
    cells: dict[tuple[Any, ...], list[Trial]] = defaultdict(list)
    for trial in trials:
        what = (
            registry.label(trial.method),
            registry.label(trial.dataset),
            predictions[trial.id].dim,
            registry.label(trial.network),
        )
        cells[(trial.lane, *what)].append(trial)
    return [
        {
            **dict(zip(("lane", "method", "dataset", "d", "network"), cell, strict=True)),
            "trials": len(members),
            "done": sum(t.id not in left for t in members),
            "failed": sum(statuses.get(t.id) in FAILED for t in members),
            "missing": sum(t.id in left for t in members),
            "passes": _short(sum(predictions[t.id].passes for t in members)),
            "time": duration(sum(predictions[t.id].seconds for t in members)),
        }
        for cell, members in cells.items()
    ]


def _short(passes: float) -> str:
    return "-" if math.isnan(passes) else f"{passes:.2g}"


def _json(trial: Trial, prediction: Prediction) -> dict[str, Any]:
    numbers = {"steps": prediction.steps, "passes": prediction.passes, "seconds": prediction.seconds}
    return {
        "lane": trial.lane,
        "seed": trial.seed,
        "method": registry.label(trial.method),
        "dataset": registry.label(trial.dataset),
        "dim": prediction.dim,
        **{name: None if math.isnan(number) else number for name, number in numbers.items()},
    }
