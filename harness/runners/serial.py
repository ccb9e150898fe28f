"""One trial after the other in this process: the reference for every other runner, and the one to debug with.

A trial stops itself at its deadline between two steps; a step that never returns is not stopped here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ebmark.env import describe
from ebmark.execute import Place, execute_together, lost
from ebmark.record import Record
from ebmark.runners import Job, Node, Running, grouped
from ebmark.saves import Saves


class SerialRunner:
    """Runs in this process, on the CPU.

    Args:
        together: trials that differ in their seed to train in one program, at most.
        saves: where long trials are saved while they go on.
    """

    slots = 1

    def __init__(self, *, together: int = 1, saves: Saves | None = None) -> None:
        self.together, self.saves = together, saves
        self._running: tuple[Job, ...] = ()
        self._since, self._finished = 0.0, 0

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, in order; nothing of ours runs beside it, so its wall-clock is exclusive."""
        place = Place(exclusive=True, env=describe(), saves=self.saves)
        for group in grouped(jobs, self.together):
            left = list(group)
            self._running, self._since = group, time.monotonic()
            try:
                for record in execute_together(
                    [job.trial for job in group], place, [job.attempt for job in group]
                ):
                    left.pop(0)
                    self._running, self._finished = tuple(left), self._finished + 1
                    yield record
            except KeyboardInterrupt:
                for job in left:
                    yield lost(job.trial, place, job.attempt, "cancelled", "interrupted")
                raise

    def nodes(self) -> Sequence[Node]:
        """This machine."""
        running = self._running
        now = (Running(jobs=running, seconds=time.monotonic() - self._since),) if running else ()
        return (Node(name="this machine", slots=1, finished=self._finished, running=now),)

    def close(self) -> None:
        """Nothing to end."""
