"""One trial after the other in this process: the reference for every other runner, and the one to debug with.

A trial stops itself at its deadline between two steps; a step that never returns is not stopped here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebmark.env import describe
from ebmark.execute import Place, execute, lost
from ebmark.record import Record
from ebmark.runners import Job


class SerialRunner:
    """Runs in this process, on the CPU."""

    slots = 1

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, in order; nothing of ours runs beside it, so its wall-clock is exclusive."""
        place = Place(exclusive=True, env=describe())
        for job in jobs:
            try:
                yield execute(job.trial, place, job.attempt)
            except KeyboardInterrupt:
                yield lost(job.trial, place, job.attempt, "cancelled", "interrupted")
                raise

    def close(self) -> None:
        """Nothing to end."""
