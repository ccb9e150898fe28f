"""A pilot run: each cell of a study for a moment, so that its costs are measured before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ebmark.costs import Measured, aggregated
from ebmark.parts import to_arrow, to_frame
from ebmark.runners import Job, Runner
from ebmark.study import Study
from ebmark.trial import Budget, Ref, Trial

TOTAL = 60.0  # seconds of training in all, shared by the cells
LEAST, MOST = 0.1, 0.5  # seconds of a cell
NAME = "a pilot run"


def moments(study: Study, slots: int) -> list[Trial]:
    """A short trial per method, data set and network; one of each data set and network is also evaluated."""
    first: dict[tuple[Ref, Ref, Ref], Trial] = {}
    for trial in study.trials():
        if trial.lane == "quality":
            first.setdefault((trial.method, trial.dataset, trial.network), trial)
    seconds = min(max(TOTAL * slots / max(len(first), 1), LEAST), MOST)
    evaluated: set[tuple[Ref, Ref]] = set()
    made = []
    for trial in first.values():
        place = (trial.dataset, trial.network)
        metrics = () if place in evaluated else trial.metrics
        evaluated.add(place)
        budget = Budget(seconds=seconds, batch=trial.budget.batch)
        made.append(replace(trial, budget=budget, metrics=metrics, checkpoints=1, pictures=False))
    return made


def pilot(study: Study, make_runner: Callable[[], Runner], say: Callable[[str], None]) -> Measured:
    """Trains and measures the cells side by side, as the study will; a cell that fails is left out.

    Nothing is stored: a budget in seconds is not the study's.
    """
    runner = make_runner()
    try:
        trials = moments(study, runner.slots)
        seconds = sum(trial.budget.seconds or 0 for trial in trials) / runner.slots
        say(f"pilot: {len(trials)} cells for {seconds:.0f} s, and an evaluation of each data set and network")
        for _ in runner.run([Job(trial=trial) for trial in trials[: runner.slots]], exclusive=False):
            pass  # a worker's first trial also pays for its start
        records = [*runner.run([Job(trial=trial) for trial in trials], exclusive=False)]
    finally:
        runner.close()
    rows = to_frame(to_arrow("trials", [record.trial for record in records]))
    curve = to_frame(to_arrow("curve", [row for record in records for row in record.curve]))
    return aggregated(NAME, rows, curve)
