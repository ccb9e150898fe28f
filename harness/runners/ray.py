"""Trials as Ray tasks: a bounded window, records in finish order, a hard deadline for each.

The window holds more tasks than run, so that a slot never waits for the driver.

By default Ray is started for this run alone, on loopback, and ended with it. The driver decides about retries
and deadlines; a task returns its record and never raises. Nothing large goes through the object store.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ebmark.env import describe
from ebmark.execute import Place, execute_together, lost
from ebmark.record import Record
from ebmark.runners import Job, grouped
from ebmark.runners.private import start

GRACE = 15.0  # seconds after its deadline that a trial may take to stop by itself and send its record
POLL = 0.5
AHEAD = (
    4  # tasks per slot that wait for their turn with Ray: short ones end faster than they can be sent singly
)
# One thread per trial: two gain nothing at benchmark sizes, and side by side they slow each other 5 to
# 19-fold.
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@dataclass(frozen=True, kw_only=True)
class _Flight:
    """Jobs of one task, and when it is given up.

    Attributes:
        jobs: one, or several that may train in one program.
        limit: seconds that they have together.
        deadline: on the monotonic clock; infinite for none, and before the task's turn has come.
    """

    jobs: tuple[Job, ...]
    limit: float
    deadline: float = math.inf


class RayRunner:
    """Runs trials on a Ray of our own, or on a running cluster.

    Args:
        address: a cluster to join (``auto`` or ``HOST:PORT``); None starts a Ray for this run alone.
        jobs: trials side by side, at most and by default one per CPU.
        gpus: GPUs per task, used where the cluster has any.
        together: trials that differ in their seed to train in one task's program, at most.
    """

    def __init__(
        self, *, address: str | None = None, jobs: int | None = None, gpus: float = 0, together: int = 1
    ) -> None:
        self.together = together
        for name, value in THREADS.items():
            os.environ.setdefault(name, value)
        self._home = os.environ.get("HOME", "")
        self._ray = join(address) if address else start()
        resources = self._ray.cluster_resources()
        self._gpus = gpus if gpus and resources.get("GPU", 0) >= gpus else 0
        by_gpu = resources.get("GPU", 0) / self._gpus if self._gpus else float("inf")
        room = max(1, int(min(resources.get("CPU", 1), by_gpu)))
        self._slots = min(jobs or room, room)
        self._ahead = AHEAD * room if self._slots == room else 0  # else Ray would run them at once
        self._env = describe()
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_retries": 0, "retry_exceptions": False}
        self._task: Any = self._ray.remote(**options)(_run)

    @property
    def slots(self) -> int:
        """How many trials run side by side."""
        return self._slots

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, in finish order."""
        place = Place(device="cuda" if self._gpus else "cpu", exclusive=exclusive, env=self._env)
        running, window = (1, 1) if exclusive else (self._slots, self._slots + self._ahead)
        waiting, flying = deque(grouped(jobs, self.together)), dict[Any, _Flight]()
        ready = deque[Record]()
        try:
            while waiting or flying or ready:
                # Slots are kept busy while the driver stores a record, unless that would disturb a timing.
                while waiting and len(flying) < window and not (exclusive and ready):
                    group = waiting.popleft()
                    flying[self._task.remote(group, place, self._home)] = _flight(group)
                _start_clocks(flying, running)
                if ready:
                    yield ready.popleft()
                    continue
                for ref in self._finished(list(flying)):
                    ready.extend(self._collect(ref, flying.pop(ref).jobs, place))
                ready.extend(self._overdue(flying, place))
        except KeyboardInterrupt:
            yield from ready
            for i, (ref, flight) in enumerate(flying.items()):
                self._ray.cancel(ref, force=True)
                if i < running:
                    yield from _lost(flight.jobs, place, "cancelled", "interrupted")
            raise

    def _finished(self, refs: list[Any]) -> list[Any]:
        """All that have finished, as soon as one has; none after a while."""
        first, _ = self._ray.wait(refs, num_returns=1, timeout=POLL)
        found: list[Any] = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0] if first else []
        return found

    def _collect(self, ref: Any, jobs: Sequence[Job], place: Place) -> Sequence[Record]:
        try:
            records: list[Record] = self._ray.get(ref)
        except self._ray.exceptions.OutOfMemoryError:
            return _lost(jobs, place, "oom", "ended by Ray's memory monitor")
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            return _lost(jobs, place, "crashed", f"the worker died: {type(error).__name__}: {first}")
        return records

    def _overdue(self, flying: dict[Any, _Flight], place: Place) -> Iterator[Record]:
        """Gives up tasks that neither finished nor stopped by themselves; their workers are killed."""
        now = time.monotonic()
        for ref in [ref for ref, flight in flying.items() if now > flight.deadline]:
            flight = flying.pop(ref)
            self._ray.cancel(ref, force=True)
            limit = f"its deadline of {flight.limit:g} s"
            reason = f"did not stop within {GRACE:g} s of {limit}; its worker was killed"
            yield from _lost(flight.jobs, place, "timeout", reason)

    def close(self) -> None:
        """Leaves the cluster, or ends the Ray that was started for this run."""
        self._ray.shutdown()


def _flight(jobs: tuple[Job, ...]) -> _Flight:
    """Jobs whose turn will come; their limit is the sum of their own."""
    limit = sum(math.inf if job.trial.timeout is None else job.trial.timeout for job in jobs)
    return _Flight(jobs=jobs, limit=limit)


def _start_clocks(flying: dict[Any, _Flight], running: int) -> None:
    """Ray starts tasks in the order in which it got them: the oldest are the ones that run."""
    now = time.monotonic()
    for ref, flight in itertools.islice(flying.items(), running):
        if flight.deadline == math.inf:
            flying[ref] = replace(flight, deadline=now + flight.limit + GRACE)


def _lost(jobs: Sequence[Job], place: Place, status: str, reason: str) -> list[Record]:
    return [lost(job.trial, place, job.attempt, status, reason) for job in jobs]


def _run(jobs: Sequence[Job], place: Place, home: str) -> list[Record]:
    os.environ["HOME"] = home  # a plug-in shall see the user's, not the private one that Ray was started with
    trials, attempts = [job.trial for job in jobs], [job.attempt for job in jobs]
    return list(execute_together(trials, place, attempts))


def join(address: str) -> Any:
    """Joins a running cluster; returns Ray's module."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    return ray
