"""Seeds in rounds: a study runs, its headline is looked at, and seeds are added until it is narrow enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ebmark import stats
from ebmark.drive import Outcome
from ebmark.errors import SpecError
from ebmark.headline import Versus, headline, stacked
from ebmark.locations import Location
from ebmark.roundsfile import Look, Rounds, read_rounds, write_rounds
from ebmark.specfile import with_seeds
from ebmark.store import read
from ebmark.study import Study


def in_rounds(
    study: Study,
    folder: Location,
    drive: Callable[[Study], Outcome],
    *,
    precision: float,
    most: int,
    say: Callable[[str], None],
) -> tuple[Outcome, Rounds]:
    """Runs the study with more and more seeds; the same call continues a run that was interrupted.

    All methods and cells get the seeds of a round, so that every comparison stays paired. A round at most
    doubles them. The results are looked at once per round, each look at an equal share of the 5 %
    (``stats.looks``); results that have not changed since the last look are not looked at again, but
    measured by what is asked.

    Args:
        study: with the seeds to begin with.
        folder: of its results.
        drive: runs what is missing of a study.
        precision: wanted of every comparison with the best.
        most: seeds allowed.
        say: tells a person how far it is.

    Returns:
        How the last round ended, with the trials of all rounds, and the rounds.

    Raises:
        SpecError: fewer seeds are allowed than the run begins with.
    """
    start = max(len(study.seeds), stats.MIN_SEEDS)
    if start > most:
        raise SpecError(f"--max-seeds: {most} given; allowed: at least {start}, the seeds it begins with")
    before = read_rounds(folder)
    looks = list(before.looks) if before else []
    seeds = max(start, min(looks[-1].seeds if looks else 0, most))
    planned = stats.looks(looks[0].seeds if looks else start, most)
    alpha = stats.ALPHA / planned
    trained = 0
    while True:
        outcome = drive(seeded(study, seeds))
        trained += outcome.trained
        rounds = Rounds(precision=precision, most=most, looks=tuple(looks))
        if outcome.interrupted:
            write_rounds(folder, rounds)
            return replace(outcome, trained=trained), rounds
        found = headline(read(folder), study.targets)
        if looks and looks[-1].seeds == seeds and outcome.trained == 0:
            looks.pop()  # the same results: the same look
        look = _look(found, precision, seeds, alpha)
        looks.append(look)
        following = stats.next_seeds(
            stacked(found),
            precision,
            seeds=seeds,
            most=most,
            alpha=alpha,
            left=planned - len(looks),
            log=True,
        )
        reason = _reason(look, precision, most) if following == seeds else ""
        rounds = replace(rounds, looks=tuple(looks), reason=reason)
        write_rounds(folder, rounds)
        say(f"look {len(looks)}, {seeds} seeds: {_state(look, precision)}")
        if reason:
            return replace(outcome, trained=trained), rounds
        seeds = following
        say(f"round {len(looks) + 1}: {seeds} seeds")


def seeded(study: Study, seeds: int) -> Study:
    """The study with so many seeds: its own, then the integers after the largest; its text says so."""
    missing = seeds - len(study.seeds)
    if missing <= 0:
        return study
    start = max(study.seeds) + 1
    all_seeds = (*study.seeds, *range(start, start + missing))
    return replace(study, seeds=all_seeds, text=with_seeds(study.text, all_seeds, study.name))


def _look(found: Sequence[Versus], precision: float, seeds: int, alpha: float) -> Look:
    if not found:
        return Look(seeds=seeds, alpha=alpha, intervals=0, met=0)
    width = stats.relative_precision(stacked(found), log=True, alpha=alpha)
    counted = np.array([np.isfinite(one.ratios).sum() for one in found])
    width = np.where(counted >= stats.MIN_SEEDS, width, np.nan)
    known = ~np.isnan(width)
    worst = int(np.where(known, width, -1.0).argmax())
    return Look(
        seeds=seeds,
        alpha=alpha,
        intervals=len(found),
        met=int((width <= precision).sum()),
        widest=float(width[worst]) if known.any() else None,
        where=str(found[worst]) if known.any() else "",
    )


def _state(look: Look, precision: float) -> str:
    if not look.intervals:
        return "nothing to compare: it takes two methods with a Fisher divergence or a target"
    widest = "" if look.widest is None else f"; the widest {100 * look.widest:.3g} % ({look.where})"
    return f"{look.met} of {look.intervals} comparisons with the best within {100 * precision:.3g} %{widest}"


def _reason(look: Look, precision: float, most: int) -> str:
    """Why no more seeds are added."""
    state = _state(look, precision)
    if look.met == look.intervals:
        return state
    if look.seeds >= most:
        return f"{most} seeds allowed; {state}"
    return f"{state}; more seeds say nothing of those in which a method seldom ends"
