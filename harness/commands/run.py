"""``ebmark run``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from ebmark.console import Console, put
from ebmark.drive import Outcome, drive
from ebmark.execute import code_version
from ebmark.locations import Location, holds_results
from ebmark.parts import to_frame
from ebmark.record import NO_FAILURE
from ebmark.report.words import counted
from ebmark.rounds import in_rounds
from ebmark.roundsfile import Rounds
from ebmark.runners import Runner
from ebmark.saves import Saves
from ebmark.store import read
from ebmark.study import Study
from ebmark.tables import load
from ebmark.trial import Ref, Trial


@dataclass(frozen=True, kw_only=True)
class How:
    """How a study is run.

    Attributes:
        runner: ray or serial.
        jobs: trials side by side; None for as many as fit.
        address: of a Ray cluster to join; None starts one for this run alone.
        rerun: failed, stale, all or None.
        only: one trial, by the beginning of its id.
        precision: wanted of every comparison, by rounds of more seeds.
        most: seeds allowed then.
    """

    runner: str = "ray"
    jobs: int | None = None
    address: str | None = None
    rerun: str | None = None
    only: str | None = None
    precision: float | None = None
    most: int = 0


def run(console: Console, study: Study, folder: Location, how: How, command: str) -> int:
    """Runs what is missing and says how it ended; returns the exit code.

    ``command`` is what was typed, to go on with after an interruption.
    """
    outcome, rounds = carry_out(study, folder, how, console.text)
    _tell(console, study, outcome, rounds, command)
    return outcome.exit_code


def carry_out(study: Study, folder: Location, how: How, out: TextIO) -> tuple[Outcome, Rounds | None]:
    """Runs what is missing; progress goes to ``out``."""
    # Workers write to a folder that they share; an object store has none, and a lost trial starts again.
    saves = None
    if isinstance(folder, Path):
        saves = Saves(folder=str(folder.absolute()), every=study.save_every)

    def make_runner() -> Runner:
        if how.runner == "serial":
            from ebmark.runners.serial import SerialRunner

            return SerialRunner(together=study.together, saves=saves)
        from ebmark.runners.cluster import connect
        from ebmark.runners.placement import Need
        from ebmark.runners.ray import RayRunner

        need = Need(gpus=study.gpus, memory=study.memory)
        used = _plugins(study.trials()) if how.address else []  # only a cluster's nodes are looked over
        cluster = connect(how.address, need, used, _timed_on(folder))
        for note in cluster.notes:
            put(f"note: {note}", out)
        return RayRunner(cluster, jobs=how.jobs, together=study.together, retries=study.retries, saves=saves)

    again = iter([how.rerun])  # once, not in every round

    def one(study: Study) -> Outcome:
        what = next(again, None)
        stale = _stale(study, folder) if what == "stale" else set()
        return drive(study, folder, make_runner, rerun=what, stale=stale, only=how.only, out=out)

    if how.precision is None:
        return one(study), None
    return in_rounds(
        study,
        folder,
        one,
        precision=how.precision,
        most=how.most,
        say=lambda line: put(line, out),
    )


def _plugins(trials: Iterable[Trial]) -> list[Ref]:
    """Every plug-in that the trials use, once."""
    used = ((t.method, t.dataset, t.network, *t.metrics) for t in trials)
    return list(dict.fromkeys(itertools.chain.from_iterable(used)))


def _timed_on(folder: Location) -> frozenset[str]:
    """The hosts, hashed as in the table ``env``, on which trials of the cost lane have run."""
    if not holds_results(folder):
        return frozenset()
    trials = to_frame(load(folder, "trials", ["lane", "env"]).data)
    env = to_frame(load(folder, "env", ["env", "host"]).data)
    return frozenset(env.loc[env["env"].isin(trials.loc[trials["lane"] == "cost", "env"]), "host"])


def _stale(study: Study, folder: Location) -> set[str]:
    """Stored trials of the study whose code has changed since."""
    stored = read(folder).trials.set_index("id")["code"].to_dict()
    return {trial.id for trial in study.trials() if stored.get(trial.id, "") != code_version(trial)}


def _tell(console: Console, study: Study, outcome: Outcome, rounds: Rounds | None, command: str) -> None:
    for warning in outcome.warnings:
        console.say(f"warning: {warning}")
    counts = ", ".join(f"{n} {status}" for status, n in sorted(outcome.counts.items())) or "nothing"
    now = f"{counted(outcome.trained, 'trial')} run now" if outcome.trained else "nothing was left to run"
    console.say(f"{outcome.folder}: {now}; in all {counts}")
    if rounds and rounds.reason:
        console.say(f"stopped adding seeds: {rounds.reason}")
    if outcome.interrupted:
        kept = sum(n for status, n in outcome.counts.items() if status != "cancelled")
        console.say(
            f"interrupted; everything that finished is kept: {counted(kept, 'trial')} in {outcome.folder}"
        )
        console.say(f"go on with: {command}")
    else:
        if outcome.counts.keys() - {*NO_FAILURE} and "--rerun" not in command:
            console.say(f"the report says why some failed; to try them again: {command} --rerun failed")
        console.say(f"next: ebmark report {outcome.folder}")
    console.document(
        {
            "study": study.name,
            "folder": str(outcome.folder),
            "trained": outcome.trained,
            "counts": outcome.counts,
            "interrupted": outcome.interrupted,
            "exit_code": outcome.exit_code,
            "rounds": None if rounds is None else asdict(rounds),
        }
    )
