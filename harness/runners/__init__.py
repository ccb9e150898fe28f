"""Runners: where trials run. One file each; whatever runs them, the same trial gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ebmark.record import Record
from ebmark.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to run, and the how-manieth attempt at it this is."""

    trial: Trial
    attempt: int = 1


class Runner(Protocol):
    """Runs jobs and hands back one record each, in the order in which they finish."""

    @property
    def slots(self) -> int:
        """How many trials run side by side."""
        ...

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, whatever happens to it.

        Args:
            jobs: in the order in which they shall start.
            exclusive: one at a time with nothing beside it, so that its wall-clock can be trusted.

        Raises:
            KeyboardInterrupt: after a ``cancelled`` record for each job that was running.
        """
        ...

    def close(self) -> None:
        """Ends whatever the runner started."""
        ...
