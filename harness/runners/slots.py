"""Slots: places where one trial runs at a time, each with a worker process of its own.

A worker is a Ray actor. It imports torch once, its tasks start in the order in which they were sent, and it
can be killed whatever it does. So the driver knows without a message which trial runs where, and since when.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ebmark.record import Row
from ebmark.runners import Job, Node, Running
from ebmark.runners.worker import Hello, packed

GRACE = 5.0  # seconds after its deadline that a trial may take to stop by itself and send its record
AHEAD = 2  # short tasks that wait behind the one that runs, so that the slot never waits for the driver
STILLBORN = 3  # workers in a row that end before they can run a trial; then the slot is given up
SHORT = 0.25  # seconds; behind a longer one none waits: another slot may be free sooner


@dataclass(kw_only=True)
class Flight:
    """Jobs of one task on its way.

    Attributes:
        jobs: one, or several that may train in one program.
        tries: how often they were started and lost with their worker.
        ref: of the answer, None before it is sent.
        began: on this process's monotonic clock, when its worker turned to it; 0 before.
    """

    jobs: tuple[Job, ...]
    tries: int = 0
    ref: Any = None
    began: float = 0.0

    @property
    def limit(self) -> float:
        """Seconds that the jobs have together."""
        return sum(math.inf if job.trial.timeout is None else job.trial.timeout for job in self.jobs)


@dataclass(kw_only=True, eq=False)
class Slot:
    """A worker and what was sent to it.

    Attributes:
        worker: the actor.
        hello: of the worker's first sign of life; None once it was read.
        node: Ray's id of its machine, "" before the first sign of life.
        address: of that machine.
        pid: its process there.
        env: the machine's row of the table ``env``, empty before the first sign of life.
        flights: in the order in which they run; the first runs now.
        pace: seconds that its last task took.
        deadline: of the task that runs, on the monotonic clock; then the worker is killed.
        stillborn: workers in a row that ended here before they could run a trial.
        closed: its worker was killed.
    """

    worker: Any
    hello: Any
    node: str = ""
    address: str = ""
    pid: int = 0
    env: Row = field(default_factory=dict)
    flights: deque[Flight] = field(default_factory=deque)
    pace: float = math.inf
    deadline: float = math.inf
    stillborn: int = 0
    closed: bool = False
    _since: float = 0.0

    @property
    def room(self) -> int:
        """How many more tasks to send now."""
        if self.hello is not None or self.closed:
            return 0
        return 1 + AHEAD * (self.pace < SHORT) - len(self.flights)

    @property
    def next(self) -> Any:
        """The reference that this slot will answer next, None if it is idle."""
        if self.hello is not None:
            return self.hello
        return self.flights[0].ref if self.flights else None

    def greet(self, hello: Hello) -> None:
        """The worker is ready."""
        self.hello, self.stillborn = None, 0
        self.node, self.address, self.pid = hello.node, hello.address, hello.pid
        self.env = hello.env

    def send(self, flight: Flight, place: Any) -> None:
        """Sends a task to the worker."""
        flight.ref = self.worker.run.remote(packed((flight.jobs, place)))
        self.flights.append(flight)
        if len(self.flights) == 1:
            self._start()

    def land(self) -> Flight:
        """The task that ran has ended; the next one's clock starts."""
        flight = self.flights.popleft()
        self.pace, self.deadline = time.monotonic() - self._since, math.inf
        if self.flights:
            self._start()
        return flight

    def running(self) -> Running | None:
        """The task that runs now."""
        try:
            return Running(jobs=self.flights[0].jobs, seconds=time.monotonic() - self._since)
        except IndexError:  # it has just landed, in another thread
            return None

    def _start(self) -> None:
        self._since = self.flights[0].began = time.monotonic()
        self.deadline = self._since + self.flights[0].limit + GRACE


class Slots:
    """The slots of a run.

    Args:
        ray: Ray's module, connected.
        worker: the class of the actors, with their demands on the machine.
        arguments: of a worker.
        n: how many slots.

    Attributes:
        finished: trials that have ended, by the address of their machine.
    """

    def __init__(self, ray: Any, worker: Any, arguments: tuple[Any, ...], n: int) -> None:
        self._ray, self._worker, self._arguments = ray, worker, arguments
        self.all = [self._open() for _ in range(n)]
        self.finished: Counter[str] = Counter()

    def _open(self, stillborn: int = 0) -> Slot:
        worker = self._worker.remote(*self._arguments)
        return Slot(worker=worker, hello=worker.hello.remote(), stillborn=stillborn)

    def grow(self, n: int) -> None:
        """Opens ``n`` more, none if it is negative."""
        self.all += [self._open() for _ in range(n)]

    def replace(self, slot: Slot) -> list[Flight]:
        """Kills the worker and starts another; what was sent to it, the task that ran first.

        A slot where workers end before they can run a trial is given up after a few.
        """
        self._ray.kill(slot.worker)
        slot.closed = True
        self.all.remove(slot)
        stillborn = slot.stillborn + (slot.hello is not None)
        if stillborn < STILLBORN:
            self.all.append(self._open(stillborn))
        return list(slot.flights)

    def close(self) -> None:
        """Kills every worker."""
        for slot in self.all:
            self._ray.kill(slot.worker)

    def on(self, nodes: Iterable[str]) -> list[Slot]:
        """Those whose worker was on one of these machines."""
        gone = set(nodes)
        return [slot for slot in self.all if slot.node in gone]

    def nodes(self) -> list[Node]:
        """Machines with a worker that is ready; another thread may ask."""
        found: defaultdict[str, list[Slot]] = defaultdict(list)
        for slot in list(self.all):
            if slot.hello is None:
                found[slot.address].append(slot)
        return [
            Node(
                name=address,
                slots=len(slots),
                finished=self.finished[address],
                running=tuple(one for slot in slots if (one := slot.running()) is not None),
            )
            for address, slots in sorted(found.items())
        ]

    def answered(self, seconds: float) -> list[Slot]:
        """Slots with something to read, as soon as there is one; none after ``seconds``."""
        by_ref = {slot.next: slot for slot in self.all if slot.next is not None}
        refs = list(by_ref)
        first, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
        found = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0] if first else []
        return [by_ref[ref] for ref in found]
