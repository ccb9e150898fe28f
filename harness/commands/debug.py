"""``ebmark run SPEC --only ID --debug``: one trial again, in the foreground."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from pandas import DataFrame, Series

from ebmark import registry
from ebmark.attempt import Attempt
from ebmark.console import Console
from ebmark.drive import one, tuned
from ebmark.env import describe
from ebmark.execute import attempt_at
from ebmark.isolation import isolated
from ebmark.locations import Location, holds_results
from ebmark.place import Place
from ebmark.recent import LastStep
from ebmark.record import TRIALS
from ebmark.store import read
from ebmark.study import Study
from ebmark.train import DivergedError, Training
from ebmark.trial import Trial

FIRST, EVERY = 3, 1.0  # steps that are told each, then one in so many seconds
AS_STORED = "the numbers are those of the stored record, bit for bit"


def repeat(console: Console, study: Study, folder: Location, only: str) -> int:
    """Trains and evaluates the trial in this process, step by step for the eye, and stores nothing.

    It has neither a deadline nor company. On the CPU its numbers are those of the stored record, bit for bit,
    unless its budget is in seconds or it was trained together with others; what differs is named.

    Returns:
        0 if it ended as a trial should, 2 if it failed, 130 if it was interrupted.

    Raises:
        SpecError: ``only`` names no trial, or several.
    """
    trial = replace(one(study.trials() + tuned(study, folder), only), timeout=None)
    stored = _stored(folder, trial)
    console.say(f"{trial.id}  {_label(trial)}; nothing is stored")
    place = _place(stored)
    attempt = attempt_at(trial, place)
    watcher = _Watcher(console, attempt)
    with isolated(trial, place.threads), attempt.watch:
        _go(attempt, watcher)
    watcher.rows()
    console.say(f"{attempt.status}{f': {attempt.reason}' if attempt.reason else ''}")
    differs = None if stored is None or attempt.status == "cancelled" else _differences(attempt, *stored)
    if differs is not None:
        console.say(f"differs from the stored record: {', '.join(differs)}" if differs else AS_STORED)
    console.document({"id": trial.id, "status": attempt.status, "reason": attempt.reason, "differs": differs})
    return {"ok": 0, "skipped": 0, "cancelled": 130}.get(attempt.status, 2)


def _go(attempt: Attempt, watcher: _Watcher) -> None:
    try:
        attempt.go()
    except KeyboardInterrupt:
        attempt.end("cancelled", "interrupted; nothing was to be stored")
    except DivergedError as error:
        attempt.end("diverged", str(error), error.last)
        watcher.table(error.last)
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything, and the user asked to see it
        attempt.end("crashed", f"{type(error).__name__}: {error}")
        traceback.print_exc(file=sys.stderr)


class _Watcher:
    """Says what an attempt does."""

    def __init__(self, console: Console, attempt: Attempt) -> None:
        self.console, self.attempt = console, attempt
        self._told, self._next = 0, 0.0
        attempt.stepped = self.step

    def step(self, training: Training) -> None:
        """Losses and gradient norms now and then, and what was measured since the last step."""
        self.rows()
        now = time.monotonic()
        if training.steps <= FIRST or now >= self._next:
            self._next = now + EVERY
            told = [f"loss {s.loss:.6g}, gradient {_norm(s)} ({s.player})" for s in training.recent.newest()]
            self.console.say(f"step {training.steps} ({training.progress:.0%})  {'; '.join(told)}")

    def rows(self) -> None:
        """The rows of the curve that have not been told."""
        for row in self.attempt.curve[self._told :]:
            source = f" ({row['source']})" if row["source"] else ""
            value = "no number" if row["value"] is None else f"{row['value']:.6g}"
            self.console.say(f"  at step {row['step']}: {row['metric']}{source} = {value}")
        self._told = len(self.attempt.curve)

    def table(self, steps: Sequence[LastStep]) -> None:
        """The last steps before a divergence."""
        rows = [
            {"step": s.step, "player": s.player, "loss": f"{s.loss:.6g}", "gradient": _norm(s)} for s in steps
        ]
        self.console.table(rows, ["step", "player", "loss", "gradient"])


def _norm(step: LastStep) -> str:
    return "none" if step.gradient is None else f"{step.gradient:.3g}"


def _label(trial: Trial) -> str:
    return f"{registry.label(trial.method)} on {registry.label(trial.dataset)}, seed {trial.seed}"


def _stored(folder: Location, trial: Trial) -> tuple[Series[Any], DataFrame] | None:
    """The row and the curve of the stored trial."""
    if not holds_results(folder):
        return None
    tables = read(folder)
    rows = tables.trials[tables.trials["id"] == trial.id]
    return None if rows.empty else (rows.iloc[0], tables.curve[tables.curve["id"] == trial.id])


def _place(stored: tuple[Series[Any], DataFrame] | None) -> Place:
    """Device and threads of the stored trial, where this machine has them."""
    device, threads = ("cpu", 1) if stored is None else (stored[0]["device"] or "cpu", stored[0]["threads"])
    if device != "cpu" and not torch.cuda.is_available():
        device = "cpu"
    return Place(device=device, threads=1 if pd.isna(threads) else int(threads), env=describe())


def _differences(attempt: Attempt, row: Series[Any], curve: DataFrame) -> list[str]:
    """What is not as it is stored: columns, then values of the curve; nothing that measures time."""
    now = attempt.record()
    names = [
        name for name, column in TRIALS.items() if not column.timing and name not in ("schema", "traceback")
    ]
    differs = [name for name in names if not _same(now.trial[name], row[name])]
    before = {(r["step"], r["metric"], r["source"] or ""): r["value"] for _, r in curve.iterrows()}
    for point in now.curve:
        key = (point["step"], point["metric"], point["source"] or "")
        if not _same(point["value"], before.get(key)):
            differs.append(f"{key[1]} at step {key[0]}")
    return differs


def _same(a: Any, b: Any) -> bool:
    """Equal, or nothing in both: None, NaN and the empty text."""
    nothing = [x is None or x == "" or x != x for x in (a, b)]
    return all(nothing) or (not any(nothing) and bool(a == b))
