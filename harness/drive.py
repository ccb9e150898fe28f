"""Drives a study: the plan minus what is done, through a runner, into the store."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from ebmark.costlane import CostLane, read_lane, write_lane
from ebmark.errors import SpecError
from ebmark.parts import part_paths, write_atomic
from ebmark.progress import Progress
from ebmark.record import Record
from ebmark.runners import Job, Runner
from ebmark.spec import TuneTable
from ebmark.store import Store, done, read
from ebmark.study import Study
from ebmark.trial import Trial
from ebmark.tuning import chooser, metric_name

FAILED = ("diverged", "timeout", "oom", "crashed")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: where the results are.
        trained: trials run now.
        counts: trials of the study by status, those of earlier runs included.
        interrupted: the user stopped it.
        warnings: about damaged parts.
    """

    folder: Path
    trained: int
    counts: dict[str, int]
    interrupted: bool
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 all ok or skipped, 2 some failed, 1 nothing there, 130 interrupted."""
        if self.interrupted:
            return 130
        if not self.counts:
            return 1
        return 2 if any(status not in ("ok", "skipped") for status in self.counts) else 0


def missing(
    trials: Sequence[Trial],
    finished: pd.DataFrame,
    rerun: str | None = None,
    stale: Collection[str] = (),
    lane: CostLane | None = None,
) -> list[Job]:
    """The jobs that are left, in plan order: never run, cancelled, or asked for again.

    Args:
        trials: the plan.
        finished: columns id, status and attempt of what is stored.
        rerun: ``failed``, ``stale``, ``all`` or None.
        stale: ids of stored trials whose code has changed since.
        lane: says which attempts of the cost lane still compare; without it all do.
    """
    statuses = dict(zip(finished["id"], finished["status"], strict=True))
    attempts = {id: int(n) for id, n in zip(finished["id"], finished["attempt"], strict=True)}

    def wanted(trial: Trial) -> bool:
        before = statuses.get(trial.id)
        if before is None or before == "cancelled" or rerun == "all":
            return True
        if trial.lane == "cost" and lane is not None and not lane.compares(trial.id, attempts[trial.id]):
            return True
        return (rerun == "failed" and before in FAILED) or (rerun == "stale" and trial.id in stale)

    return [Job(trial=t, attempt=attempts.get(t.id, 0) + 1) for t in trials if wanted(t)]


def planned_lane(folder: Path, plan: Sequence[Trial], finished: pd.DataFrame) -> CostLane:
    """The folder's cost lane once this plan is run: repeated whole if the plan has made it grow."""
    stored = finished[finished["lane"] == "cost"]
    attempts = {id: int(n) for id, n in zip(stored["id"], stored["attempt"], strict=True)}
    return read_lane(folder).grown([trial.id for trial in plan if trial.lane == "cost"], attempts)


def drive(
    study: Study,
    folder: Path,
    make_runner: Callable[[], Runner],
    *,
    rerun: str | None = None,
    stale: set[str] | None = None,
    only: str | None = None,
    out: TextIO,
) -> Outcome:
    """Runs what is missing; every record is on disk before the next is asked for.

    The quality lane comes first and packs the machine, in a study that tunes together with the trials of the
    rates, and then what is trained at the chosen ones; the cost lane follows, one trial at a time, its
    methods and dimensions interleaved at random so that a drift of the machine spreads over all.

    Raises:
        SpecError: ``only`` names no trial, or several.
        StoreError: the folder cannot be written.
    """
    progress, interrupted = None, False
    with Store(folder) as store:
        plan = study.trials() + tuned(study, folder)
        trials = _chosen(plan, only)
        before = done(folder)
        lane = planned_lane(folder, plan, before)
        jobs = missing(trials, before, "all" if only else rerun, stale or set(), lane)
        store.write_spec(study.text)
        write_lane(folder, lane)
        _write_plan(folder, plan)
        if jobs:
            runner = make_runner()
            progress = Progress(total=len(jobs), done=len(trials) - len(jobs), slots=runner.slots, out=out)
            interrupted = _run(store, jobs, lambda: _extend(plan, study, folder, only), runner, progress)
        order = [trial.id for trial in plan]
        # A folder where nothing happened stays as it is, so that its report is still newer than it.
        warnings = store.compact(order) if jobs or len(part_paths(folder / "trials")) != 1 else ()
    stored = done(folder)
    counts = Counter(stored.loc[stored["id"].isin(set(order)), "status"])
    return Outcome(
        folder=folder,
        trained=progress.finished if progress else 0,
        counts=dict(counts),
        interrupted=interrupted,
        warnings=warnings,
    )


def tuned(study: Study, folder: Path) -> list[Trial]:
    """The trials at the rates that the tables of ``folder`` speak for, as far as that is decided.

    The folder need not exist yet.
    """
    return [] if study.tune is None else study.tuned(_chooser(study.tune, folder))


def _chooser(tune: TuneTable, folder: Path) -> Callable[[Sequence[Trial]], float | None]:
    if not (folder / "trials").is_dir():
        return lambda rates: None
    tables = read(folder)
    return chooser(tables.trials, tables.curve, metric_name(tune.by))


def undecided(study: Study, folder: Path) -> list[Trial]:
    """What could follow from the rates still to be tried: the trials at the highest rate of each ladder.

    They stand for those at the chosen rates, which cost the same; where the own rate wins, none follow.
    """
    if study.tune is None:
        return []
    known = _chooser(study.tune, folder)
    return study.tuned(lambda rates: rates[-1].factor if known(rates) is None else None)


def _extend(plan: list[Trial], study: Study, folder: Path, only: str | None) -> list[Job]:
    """Adds to the plan, unless one trial was asked for, what the rates speak for by now; its jobs."""
    known = {trial.id for trial in plan}
    more = [] if only else [trial for trial in tuned(study, folder) if trial.id not in known]
    plan.extend(more)
    _write_plan(folder, plan)
    return missing(more, done(folder))


def _write_plan(folder: Path, plan: Sequence[Trial]) -> None:
    write_atomic(folder / "plan.json", json.dumps([trial.id for trial in plan]).encode())


def _chosen(trials: list[Trial], only: str | None) -> list[Trial]:
    if only is None:
        return trials
    found = [trial for trial in trials if trial.id.startswith(only)]
    if len(found) != 1:
        what = "no trial begins so" if not found else f"{len(found)} trials begin so, give more digits"
        raise SpecError(f"--only {only}: {what}; `ebmark plan` lists the ids with --json")
    return found


def _run(
    store: Store, jobs: list[Job], follow_up: Callable[[], list[Job]], runner: Runner, progress: Progress
) -> bool:
    """Runs all lanes; returns whether the user interrupted.

    Args:
        store: takes the records.
        jobs: to run.
        follow_up: what is to be run besides, once every job outside the cost lane has ended.
        runner: runs them.
        progress: counts them.
    """
    packed = [job for job in jobs if job.trial.lane != "cost"]
    cost = [job for job in jobs if job.trial.lane == "cost"]
    random.Random(0).shuffle(cost)

    def run(lane: list[Job], *, exclusive: bool) -> None:
        for record in _stoppable(runner.run(lane, exclusive=exclusive)):
            store.append([record])
            progress.add(record)

    try:
        with progress:
            run(packed, exclusive=False)
            more = follow_up()
            progress.extend(len(more))
            run(more, exclusive=False)
            run(cost, exclusive=True)
    except KeyboardInterrupt:
        return True
    finally:
        runner.close()
    return False


def _stoppable(records: Iterator[Record]) -> Iterator[Record]:
    """The records; Ctrl-C and SIGTERM take effect inside the runner only, never while one is being stored.

    The runner then yields a ``cancelled`` record for each trial in flight before it raises
    ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread() or not isinstance(records, Generator):
        yield from records
        return
    waiting, asked = False, False

    def on_interrupt(*_: object) -> None:
        nonlocal asked
        if waiting:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, on_interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            waiting = True
            try:
                record = records.throw(KeyboardInterrupt()) if asked else next(records)
            except StopIteration:
                return
            finally:
                waiting = False
            asked = False
            yield record
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
