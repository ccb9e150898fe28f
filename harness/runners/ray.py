"""Trials on Ray: slots with workers of their own, records in finish order, a hard deadline for each.

By default Ray is started for this run alone, on loopback, and ended with it. The driver decides about retries
and deadlines: Ray repeats nothing. Nothing large goes through the object store.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ebmark.env import describe
from ebmark.errors import RunError
from ebmark.execute import Place, lost
from ebmark.record import Record
from ebmark.runners import Job, Node, grouped
from ebmark.runners.cluster import Cluster, connect, lane
from ebmark.runners.nodes import NodeWatch
from ebmark.runners.placement import nodes, slots
from ebmark.runners.reasons import detail, times, used
from ebmark.runners.slots import GRACE, Flight, Slot, Slots
from ebmark.runners.worker import Answer, Hello, UnreadableError, Worker, unpacked
from ebmark.saves import Saves

RETRIES = 2
STARVED = 900.0  # seconds without any worker until none is expected; a cloud's machine takes ten minutes
POLL = 0.5  # seconds between two looks at deadlines and machines
PATIENCE = 10.0  # seconds for workers to start, before one of those that have is where times are taken


class RayRunner:
    """Runs trials on a Ray of our own, or on a running cluster.

    Args:
        cluster: the Ray, left or ended with the runner; None starts one for this run alone.
        jobs: trials side by side, at most and by default as many as fit.
        together: trials that differ in their seed to train in one task's program, at most.
        retries: how often a trial is tried again whose worker or machine was lost.
        saves: where long trials are saved while they go on.
    """

    def __init__(
        self,
        cluster: Cluster | None = None,
        *,
        jobs: int | None = None,
        together: int = 1,
        retries: int = RETRIES,
        saves: Saves | None = None,
    ) -> None:
        self.together, self.retries, self._most = together, retries, jobs or math.inf
        self._saves = saves
        self._cluster = cluster or connect()
        self._ray = self._cluster.ray
        self._env = describe()
        self._need = self._cluster.need
        self._slots = self._open()
        self._timing = ""  # Ray's id of the machine on which times are taken
        self._nodes = NodeWatch(self._ray)
        self._looked = 0.0
        self._waiting = deque[Flight]()
        self._hungry = deque[Slot]()  # slots that may have room, an idle one before others

    def _open(self) -> Slots:
        worker = self._ray.remote(**self._need.options(), max_restarts=0, max_task_retries=0)(Worker)
        n = int(min(self._most, slots(self._need, self._cluster.nodes)))
        return Slots(self._ray, worker, (self._cluster.bag, self._need.memory), n)

    @property
    def slots(self) -> int:
        """How many trials run side by side."""
        return len(self._slots.all)

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, in finish order.

        Raises:
            RunError: no worker starts, or the driver has lost its Ray.
        """
        self._place = Place(device=self._need.device, exclusive=exclusive, env=self._env, saves=self._saves)
        if exclusive and self._need.whole != self._need:
            self._slots.close()  # an idle worker, too, keeps its part of a GPU
            self._need = self._need.whole
            self._slots = self._open()
        self._waiting.extend(Flight(jobs=group) for group in grouped(jobs, self.together))
        self._hungry = deque(self._slots.all)
        self._patience = time.monotonic() + PATIENCE
        self._starved = time.monotonic() + STARVED
        ready = deque[Record]()
        try:
            while self._waiting or self._busy() or ready:
                # Slots are kept busy while the driver stores a record, unless that would disturb a timing.
                if not exclusive:
                    self._send()
                elif not (ready or self._busy()):
                    self._send_alone()
                if ready:
                    yield ready.popleft()
                    continue
                for slot in self._slots.answered(POLL):
                    ready.extend(self._read(slot))
                    self._hungry.append(slot)
                ready.extend(self._look())
        except KeyboardInterrupt:
            yield from ready
            for slot in [slot for slot in self._slots.all if slot.flights]:
                yield from self._lost(slot, self._slots.replace(slot)[0], "cancelled", "interrupted")
            raise

    def _busy(self) -> bool:
        return any(slot.flights for slot in self._slots.all)

    def _send(self, most: float = math.inf) -> None:
        """Sends what waits, at most so many; each slot has one task before any has two."""
        while self._waiting and self._hungry and most:
            slot = self._hungry.popleft()
            if slot.room > 0:
                slot.send(self._waiting.popleft(), self._place)
                most -= 1
                self._hungry.append(slot)

    def _send_alone(self) -> None:
        """Sends one task to the machine on which times are taken: two of a kind may differ more.

        The machine is chosen once; another takes its place only when it is lost.
        """
        if there := self._slots.on((self._timing,)):
            self._patience = time.monotonic() + PATIENCE
            self._hungry = deque(there)
            self._send(1)
            return
        machines = {slot.node: slot.env for slot in self._slots.all if slot.node}
        if machines and (all(slot.node for slot in self._slots.all) or time.monotonic() > self._patience):
            self._timing = lane(machines, self._cluster.head, self._cluster.timed_on)

    def _read(self, slot: Slot) -> Iterator[Record]:
        """What a slot has answered, or what became of it."""
        errors = self._ray.exceptions
        try:
            found = self._ray.get(slot.next)
            answer: Hello | Answer = found if isinstance(found, Hello) else unpacked(found)
        except errors.OutOfMemoryError as error:
            yield from self._replace(slot, "oom", f"ended by Ray's memory monitor{used(error)}")
        except errors.RayError as error:
            yield from self._replace(slot, "", detail(error))
        except UnreadableError as error:
            yield from self._blame(slot, slot.land(), "crashed", f"its answer cannot be read here: {error}")
        else:
            if isinstance(answer, Hello):
                slot.greet(answer)
            else:
                yield from self._take(slot, answer)

    def _take(self, slot: Slot, answer: Answer) -> Iterator[Record]:
        if answer.records:
            slot.land()
            self._slots.finished[slot.address] += len(answer.records)
            yield from answer.records
        elif answer.failure:
            yield from self._blame(slot, slot.land(), "crashed", answer.failure)
        if answer.worn:
            self._waiting.extendleft(reversed(self._slots.replace(slot)))

    def _replace(self, slot: Slot, status: str, reason: str) -> Iterator[Record]:
        """Another worker takes the place of a dead one; the trial that ran there is lost or tried again.

        Args:
            slot: its slot.
            status: of the trial; "" where it is not to blame.
            reason: what happened.
        """
        flights = self._slots.replace(slot)
        self._waiting.extendleft(reversed(flights[1:]))
        if not self._slots.all:
            raise RunError(f"every worker ended before it could run a trial; the last: {reason}")
        for flight in flights[:1]:
            if status:
                yield from self._blame(slot, flight, status, reason)
            elif flight.tries < self.retries:
                self._again(flight)
            else:
                yield from self._lost(
                    slot, flight, "crashed", f"the worker died{times(flight.tries)}: {reason}"
                )

    def _blame(self, slot: Slot, flight: Flight, status: str, reason: str) -> Iterator[Record]:
        """A job ends so; which of several it was shows when each is tried for itself."""
        if len(flight.jobs) > 1:
            self._again(flight)
        else:
            yield from self._lost(slot, flight, status, reason)

    def _again(self, flight: Flight) -> None:
        """Its jobs next, each for itself: one of them may be what killed the worker."""
        for job in reversed(flight.jobs):
            again = replace(job, attempt=job.attempt + 1)
            self._waiting.appendleft(Flight(jobs=(again,), tries=flight.tries + 1))

    def _look(self) -> Iterator[Record]:
        """Gives up what never ends and is not reported: trials after their deadline, lost machines."""
        now = time.monotonic()
        if now < self._looked + POLL:
            return
        self._looked = now
        if self._busy() or not self._waiting:
            self._starved = now + STARVED
        elif now > self._starved:
            raise RunError(f"no worker could start for {STARVED:g} s; next: `ray status` says what is in use")
        for slot in [slot for slot in self._slots.all if slot.deadline < now]:
            limit = f"its deadline of {slot.flights[0].limit:g} s"
            reason = f"did not stop within {GRACE:g} s of {limit}; its worker was killed"
            yield from self._replace(slot, "timeout", reason)
        for slot in self._slots.on(self._nodes.lost()):
            yield from self._replace(slot, "", "its machine was lost")
        if self._nodes.joined():
            room = min(self._most, slots(self._need, nodes(self._ray)))
            self._slots.grow(int(room) - len(self._slots.all))

    def _lost(self, slot: Slot, flight: Flight, status: str, reason: str) -> Iterator[Record]:
        place = replace(self._place, env=slot.env or self._env)
        seconds = time.monotonic() - flight.began if flight.began else 0.0
        for job in flight.jobs:
            yield lost(job.trial, place, job.attempt, status, reason, seconds=seconds)

    def nodes(self) -> list[Node]:
        """Machines with a worker, by address."""
        return self._slots.nodes()

    def close(self) -> None:
        """Leaves the cluster, or ends the Ray that was started for this run, unless it no longer answers."""
        if not self._nodes.silent:
            self._ray.shutdown()
