"""``precision.json`` beside the results: the looks of a run that adds seeds until it is precise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ebmark.locations import Location
from ebmark.parts import read_json, write_atomic

FILE = "precision.json"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the intervals.

    Attributes:
        seeds: of every method and cell by then.
        alpha: one minus the coverage of the intervals of this look.
        intervals: how many there were.
        met: how many of them were narrow enough.
        widest: the relative half-length of the widest, None where none was known.
        where: what that one compares.
    """

    seeds: int
    alpha: float
    intervals: int
    met: int
    widest: float | None = None
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """A run by precision: what was asked for, its looks, and why it stopped (empty while it goes on)."""

    precision: float
    most: int
    looks: Sequence[Look] = ()
    reason: str = ""


def read_rounds(folder: Location) -> Rounds | None:
    """The rounds of a results folder; None where it was not run by precision."""
    stored = read_json(folder / FILE, _is_rounds)
    if stored is None:
        return None
    return Rounds(**{**stored, "looks": tuple(Look(**look) for look in stored["looks"])})


def _is_rounds(stored: Any) -> bool:
    if not (isinstance(stored, dict) and set(stored) == set(Rounds.__dataclass_fields__)):
        return False
    numbers = all(type(stored[name]) in (int, float) for name in ("precision", "most"))
    looks = stored["looks"] if isinstance(stored["looks"], list) else [None]
    return numbers and all(
        isinstance(look, dict)
        and set(look) == set(Look.__dataclass_fields__)
        and all(type(look[name]) in (int, float) for name in ("seeds", "alpha", "intervals", "met"))
        for look in looks
    )


def write_rounds(folder: Location, rounds: Rounds) -> None:
    """Stores them."""
    write_atomic(folder / FILE, json.dumps(asdict(rounds), indent=1).encode())


def told(rounds: Rounds) -> str:
    """The rounds in three sentences, for the report."""
    share = f"{100 * rounds.precision:.3g} %"
    seeds = ", ".join(str(look.seeds) for look in rounds.looks) or "no"
    holds = 100 * (1 - max(sum(look.alpha for look in rounds.looks), 0.05))  # more looks than were planned
    end = f"Stopped: {rounds.reason}" if rounds.reason else "Not finished yet"
    return (
        f"Seeds were added in rounds until the ratio of every method to the best is known within {share}, "
        f"to at most {rounds.most} seeds. The results were looked at with {seeds} seeds; the intervals of "
        f"these looks hold with {holds:.3g} % whichever was the last. {end}."
    )
