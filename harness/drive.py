"""Drives a study: the plan minus what is done, through a runner, into the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import pandas as pd

from ebmark.costlane import CostLane, read_lane, write_lane
from ebmark.errors import SpecError
from ebmark.locations import Location, holds_results
from ebmark.pace import kind
from ebmark.parts import part_paths
from ebmark.planfile import write_plan
from ebmark.predict import Costs, wall_shares
from ebmark.progress import Progress
from ebmark.record import FAILED
from ebmark.runfile import remove_run
from ebmark.runners import Job, Runner
from ebmark.schedule import run_lanes
from ebmark.spec import TuneTable
from ebmark.store import Store, done, read
from ebmark.study import Study
from ebmark.trial import Trial
from ebmark.tuning import chooser, metric_name


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

    folder: Location
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


def planned_lane(folder: Location, plan: Sequence[Trial], finished: pd.DataFrame) -> CostLane:
    """The folder's cost lane once this plan is run: repeated whole if the plan has made it grow."""
    stored = finished[finished["lane"] == "cost"]
    attempts = {id: int(n) for id, n in zip(stored["id"], stored["attempt"], strict=True)}
    return read_lane(folder).grown([trial.id for trial in plan if trial.lane == "cost"], attempts)


def drive(
    study: Study,
    folder: Location,
    make_runner: Callable[[], Runner],
    *,
    rerun: str | None = None,
    stale: set[str] | None = None,
    only: str | None = None,
    out: TextIO,
) -> Outcome:
    """Runs what is missing; every record is on disk before the next is asked for.

    The quality lane comes first and packs the machine, in a study that tunes together with the trials of the
    rates, and then what is trained at the chosen ones; what is expected to take longest starts first, so that
    nothing long is left alone at the end. The cost lane follows, one trial at a time, its methods and
    dimensions interleaved at random so that a drift of the machine spreads over all.

    Raises:
        SpecError: ``only`` names no trial, or several.
        StoreError: the folder cannot be written.
    """
    trained, interrupted = 0, False
    with Store(folder) as store:
        plan = study.trials() + tuned(study, folder)
        trials = plan if only is None else [one(plan, only)]
        before = done(folder)
        lane = planned_lane(folder, plan, before)
        jobs = missing(trials, before, "all" if only else rerun, stale or set(), lane)
        store.write_spec(study.text)
        remove_run(folder)  # of a run that was killed
        write_lane(folder, lane)
        write_plan(folder, dict.fromkeys((trial.id for trial in plan), 0.0))
        if jobs:
            trained, interrupted = _carry_out(
                study, store, make_runner, plan=plan, trials=trials, jobs=jobs, only=only, out=out
            )
        order = [trial.id for trial in plan]
        # A folder where nothing happened stays as it is, so that its report is still newer than it.
        warnings = store.compact(order) if jobs or len(part_paths(folder / "trials")) != 1 else ()
    stored = done(folder)
    counts = Counter(stored.loc[stored["id"].isin(set(order)), "status"])
    return Outcome(
        folder=folder, trained=trained, counts=dict(counts), interrupted=interrupted, warnings=warnings
    )


def _carry_out(
    study: Study,
    store: Store,
    make_runner: Callable[[], Runner],
    *,
    plan: list[Trial],
    trials: Sequence[Trial],
    jobs: Sequence[Job],
    only: str | None,
    out: TextIO,
) -> tuple[int, bool]:
    """Runs the jobs and what follows from their results, which joins the plan.

    Returns:
        How many trials have finished, and whether the user interrupted.
    """
    folder = store.folder
    costs, runner = Costs.beside(folder), make_runner()

    def shares(trials: Sequence[Trial]) -> dict[str, float]:
        return wall_shares(trials, costs, runner.slots)

    seconds = shares(plan)
    write_plan(folder, seconds)
    progress = Progress(
        left={job.trial.id: seconds[job.trial.id] for job in jobs},
        done=len(trials) - len(jobs),
        slots=runner.slots,
        out=out,
        kinds={job.trial.id: kind(job.trial) for job in jobs},
        later=0.0 if only else sum(shares(undecided(study, folder)).values()),
        nodes=runner.nodes,
        folder=folder,
    )
    interrupted = run_lanes(store, jobs, lambda: _extend(plan, study, folder, only, shares), runner, progress)
    return progress.finished, interrupted


def tuned(study: Study, folder: Location) -> list[Trial]:
    """The trials at the rates that the tables of ``folder`` speak for, as far as that is decided.

    The folder need not exist yet.
    """
    return [] if study.tune is None else study.tuned(_chooser(study.tune, folder))


def _chooser(tune: TuneTable, folder: Location) -> Callable[[Sequence[Trial]], float | None]:
    if not holds_results(folder):
        return lambda rates: None
    tables = read(folder)
    return chooser(tables.trials, tables.curve, metric_name(tune.by))


def undecided(study: Study, folder: Location) -> list[Trial]:
    """What could follow from the rates still to be tried: the trials at the highest rate of each ladder.

    They stand for those at the chosen rates, which cost the same; where the own rate wins, none follow.
    """
    if study.tune is None:
        return []
    known = _chooser(study.tune, folder)
    return study.tuned(lambda rates: rates[-1].factor if known(rates) is None else None)


def _extend(
    plan: list[Trial],
    study: Study,
    folder: Location,
    only: str | None,
    shares: Callable[[Sequence[Trial]], Mapping[str, float]],
) -> tuple[list[Job], dict[str, float]]:
    """Adds to the plan, unless one trial was asked for, what the rates speak for by now.

    Returns:
        Its jobs, and by how many seconds each will lengthen the run.
    """
    known = {trial.id for trial in plan}
    more = [] if only else [trial for trial in tuned(study, folder) if trial.id not in known]
    plan.extend(more)
    seconds = shares(plan)
    write_plan(folder, seconds)
    jobs = missing(more, done(folder))
    return jobs, {job.trial.id: seconds[job.trial.id] for job in jobs}


def one(trials: Sequence[Trial], begins: str) -> Trial:
    """The trial whose id begins so.

    Raises:
        SpecError: there is none, or several.
    """
    found = [trial for trial in trials if trial.id.startswith(begins)]
    if len(found) != 1:
        some = ", ".join(trial.id for trial in (found or trials)[:3])
        what = f"{len(found)} begin so, give more digits:" if found else "no trial begins so; there are"
        raise SpecError(f"--only {begins}: {what} {some}, ...; `ebmark plan STUDY --json` lists all")
    return found[0]
