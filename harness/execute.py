"""Executes trials, on whatever machine this is: trials in, records out, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ebmark import registry
from ebmark.attempt import Attempt
from ebmark.group import train_together
from ebmark.grouping import way
from ebmark.isolation import isolated
from ebmark.place import Place
from ebmark.plan import plain_name
from ebmark.record import SCHEMA, Record
from ebmark.sources import code_hash
from ebmark.trial import Budget, Ref, Trial
from ebmark.trust import Watch

__all__ = ["Place", "attempt_at", "code_version", "execute", "execute_together", "harness_version", "lost"]

# What a trained number depends on; a change in any of these makes earlier results stale.
SOURCES = (
    "activations",
    "api/__init__",
    "api/datasets",
    "api/defaults",
    "api/each",
    "api/energy",
    "api/methods",
    "api/metrics",
    "api/networks",
    "api/plugin",
    "api/state",
    "api/value",
    "attempt",
    "base",
    "capture",
    "chains",
    "course",
    "derivatives",
    "estimate",
    "evaluate",
    "execute",
    "floors",
    "flows",
    "group",
    "isolation",
    "layers",
    "meter",
    "modules",
    "noise",
    "normaliser",
    "opponents",
    "ops",
    "optimisers",
    "outcome",
    "pairs",
    "perceptron",
    "picture",
    "points",
    "probe",
    "quadrature",
    "recent",
    "reverse",
    "rng",
    "samplers",
    "smc",
    "stiffness",
    "stream",
    "together",
    "train",
)


def execute(trial: Trial, place: Place, number: int = 1) -> Record:
    """Trains and evaluates; a failure is a record with a status and a reason, never an exception.

    Raises:
        KeyboardInterrupt: the user wants to stop.
    """
    attempt = attempt_at(trial, place, number)  # it imports the plug-ins, whose files may draw or seed
    with isolated(trial, place.threads):
        with attempt.watch, attempt.ending():
            attempt.go()
        return attempt.record()


def execute_together(trials: Sequence[Trial], place: Place, numbers: Sequence[int]) -> Iterator[Record]:
    """``execute`` for trials that differ in their seed, in one program where that changes nothing but time.

    Where it would, or the program fails, they are trained one by one. The records are in the order of trials.

    Raises:
        KeyboardInterrupt: the user wants to stop.
    """
    if len(trials) > 1:
        with isolated(trials[0], place.threads):
            records = _in_one_program(trials, place, numbers)
        if records:
            yield from records
            return
    for trial, n in zip(trials, numbers, strict=True):
        yield execute(trial, place, n)


def _in_one_program(trials: Sequence[Trial], place: Place, numbers: Sequence[int]) -> list[Record]:
    """Their records; none where one program would not do."""
    if not (how := way(trials[0])):
        return []
    attempts = [attempt_at(trial, place, n) for trial, n in zip(trials, numbers, strict=True)]
    watch = Watch(place.device)
    try:
        with watch:
            train_together(attempts, mapped=how == "mapped")
    except Exception:  # noqa: BLE001  # whose fault it is shows when each is trained alone
        return []
    for attempt in attempts:
        attempt.watch = watch
    return [attempt.record() for attempt in attempts]


def lost(
    trial: Trial, place: Place, number: int, status: str, reason: str, *, seconds: float = 0.0
) -> Record:
    """The record of a trial that did not come back: cancelled, killed at its deadline, or its worker died.

    Args:
        trial: which.
        place: where it ran.
        number: of the attempt.
        status: how it ended.
        reason: why.
        seconds: ago it began.
    """
    attempt = attempt_at(trial, place, number)
    attempt.began(seconds)
    attempt.end(status, reason)
    return attempt.record()


def attempt_at(trial: Trial, place: Place, number: int = 1) -> Attempt:
    """An attempt that has not begun."""
    return Attempt(trial, place, number, _identity(trial))


def _identity(trial: Trial) -> dict[str, Any]:
    """The columns that are known before a trial runs."""
    return {
        "id": trial.id,
        "schema": SCHEMA,
        "study": trial.study,
        "options": trial.options,
        "lane": trial.lane,
        "repeat": trial.repeat,
        "method": plain_name(trial.method.name),
        "method_label": registry.label(trial.method),
        "method_args": trial.method.args,
        "dataset": plain_name(trial.dataset.name),
        "dataset_label": registry.label(trial.dataset),
        "dataset_args": trial.dataset.args,
        "dim": _dim(trial.dataset),
        "network": plain_name(trial.network.name),
        "network_args": trial.network.args,
        "seed": trial.seed,
        "budget": _limits(trial.budget),
        "batch": trial.budget.batch,
        "rate_factor": trial.factor,
        "code": code_version(trial),
    }


@cache
def _dim(dataset: Ref) -> int | None:
    dim: int | None = json.loads(dataset.args).get("dim")
    return dim


@cache
def _limits(budget: Budget) -> str:
    return json.dumps({name: value for name, value in asdict(budget).items() if value is not None})


def code_version(trial: Trial) -> str:
    """A hash of the sources that the trial's numbers depend on."""
    parts = [
        harness_version(),
        *(registry.source_hash(r) for r in (trial.method, trial.dataset, trial.network)),
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


@cache
def harness_version() -> str:
    """A hash of the harness's own sources among them."""
    folder = Path(__file__).parent
    return code_hash(folder / f"{name}.py" for name in SOURCES)
