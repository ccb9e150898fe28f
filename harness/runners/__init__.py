"""Runners: where trials run. One file each; whatever runs them, the same trial gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ebmark.grouping import alone, key
from ebmark.record import Record
from ebmark.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to run, and the how-manieth attempt at it this is."""

    trial: Trial
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class Running:
    """Jobs that run now: one, or several in one program, for so many seconds."""

    jobs: tuple[Job, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of a run.

    Attributes:
        name: its address.
        slots: trials that it can run side by side.
        finished: trials that have ended there.
        running: what runs there now.
    """

    name: str
    slots: int
    finished: int
    running: tuple[Running, ...]


def grouped(jobs: Sequence[Job], together: int) -> list[tuple[Job, ...]]:
    """The jobs in their order; up to ``together`` that differ in their seed share the place of the first."""
    groups: list[list[Job]] = []
    last: dict[Trial, list[Job]] = {}
    for job in jobs:
        if together == 1 or alone(job.trial):
            groups.append([job])
            continue
        group = last.get(same := key(job.trial))
        if group is None or len(group) == together:
            groups.append(group := [])
            last[same] = group
        group.append(job)
    return [tuple(group) for group in groups]


class Runner(Protocol):
    """Runs jobs and hands back one record each, in the order in which they finish."""

    @property
    def slots(self) -> int:
        """How many trials run side by side."""
        ...

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, whatever happens to it.

        Args:
            jobs: in the order in which they shall start; a runner may train several seeds in one program.
            exclusive: one at a time with nothing beside it, so that its wall-clock can be trusted.

        Raises:
            KeyboardInterrupt: after a ``cancelled`` record for each job that was running.
        """
        ...

    def nodes(self) -> Sequence[Node]:
        """Where trials run now; may be asked by another thread than that which runs them."""
        ...

    def close(self) -> None:
        """Ends whatever the runner started."""
        ...
