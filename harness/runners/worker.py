"""The process on a slot: it lives through many trials, and says when it is no longer fit for the next."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch._dynamo  # noqa: F401  # torch imports it for its first optimiser: no trial shall wait for it

from ebmark.discovery import shipped
from ebmark.env import described
from ebmark.execute import Place, execute_together
from ebmark.files import one_line
from ebmark.record import Record, Row
from ebmark.runners import Job
from ebmark.runners.bag import Bag, settle
from ebmark.runners.limits import adopt, capped, end_children, resident
from ebmark.runners.patches import Patches

GROWTH = 2**30  # bytes of memory that a worker may hold more after a trial than after its first


@dataclass(frozen=True, kw_only=True)
class Hello:
    """A worker is ready: where it is.

    Attributes:
        node: Ray's id of the machine.
        address: of the machine.
        pid: of the process, there.
        env: the machine's row of the table ``env``.
    """

    node: str
    address: str
    pid: int
    env: Row


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker sends back for a task.

    Attributes:
        records: one per job; empty where it did not run them.
        failure: why, in one line; empty where a worn worker merely hands them back.
        worn: why another worker must take this one's place; empty as long as it is fit.
    """

    records: tuple[Record, ...] = ()
    failure: str = ""
    worn: str = ""


class UnreadableError(Exception):
    """What a worker has sent cannot be read here."""


def packed(what: object) -> bytes:
    """What travels between driver and workers: Ray looks for code to send, too: ten times as long."""
    return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)


def unpacked(sent: bytes) -> Any:
    """The content of what was ``packed``.

    Raises:
        UnreadableError: it holds something that is not known here.
    """
    try:
        return pickle.loads(sent)
    except Exception as error:  # pickle may raise anything
        raise UnreadableError(one_line(error)) from error


class Worker:
    """Runs trials one after the other; never raises.

    Args:
        bag: the study's files, and the user's home.
        memory: bytes that a trial may take beyond what the worker holds, None for no limit.
    """

    def __init__(self, bag: Bag, memory: int | None = None) -> None:
        settle(bag)
        adopt()
        self._memory = memory
        self._worn = ""
        self._threads = set(threading.enumerate())
        self._patches = Patches()
        self._resident = 0  # bytes, after the first trial
        # What was imported stays: Python need not look through it for garbage in the midst of a trial.
        gc.collect()
        gc.freeze()

    def hello(self) -> Hello:
        """Answers once the worker can run a trial: torch is imported, its start-up is over."""
        import ray

        node, address = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        return Hello(node=node, address=address, pid=os.getpid(), env=described())

    def run(self, task: bytes) -> bytes:
        """Runs the jobs of one task, unless an earlier one has worn the worker out.

        Args:
            task: ``packed`` jobs, and the place.

        Returns:
            A ``packed`` answer.
        """
        try:
            jobs, place = unpacked(task)
            return packed(self._answer(jobs, place))
        except Exception as error:  # noqa: BLE001  # a plug-in may have put something of its own into a record
            return packed(Answer(failure=one_line(error), worn=self._worn))

    def _answer(self, jobs: Sequence[Job], place: Place) -> Answer:
        if self._worn:
            return Answer(worn=self._worn)
        answer = self._run(jobs, place)
        self._worn = self._wear() or self._meddled(jobs)
        return replace(answer, worn=self._worn)

    def _run(self, jobs: Sequence[Job], place: Place) -> Answer:
        place = replace(place, env=described())
        trials, attempts = [job.trial for job in jobs], [job.attempt for job in jobs]
        try:
            with capped(self._memory):
                return Answer(records=tuple(execute_together(trials, place, attempts)))
        except BaseException as error:  # noqa: BLE001  # a plug-in may raise anything, also while it is imported
            return Answer(failure=one_line(error))

    def _wear(self) -> str:
        """What a trial has left behind that would disturb or mistime the next; a few microseconds."""
        end_children()
        if extra := [t.name for t in threading.enumerate() if t not in self._threads and t.is_alive()]:
            return f"{len(extra)} threads outlived their trial: {', '.join(sorted(extra))[:200]}"
        held = resident()
        self._resident = self._resident or held
        if held - self._resident > GROWTH:
            gc.collect()  # what only cycles keep is no leak; too slow to do after every trial
            held = resident()
        if held - self._resident > GROWTH:
            return f"its memory grew from {self._resident / 2**30:.1f} to {held / 2**30:.1f} GiB"
        return ""

    def _meddled(self, jobs: Sequence[Job]) -> str:
        """What a plug-in that did not come with ebmark has replaced in torch or Python."""
        trial = jobs[0].trial
        used = [("method", trial.method), ("dataset", trial.dataset), ("network", trial.network)]
        used += [("metric", metric) for metric in trial.metrics]
        if not all(shipped(kind, ref.name) for kind, ref in used) and (found := self._patches.found()):
            return f"replaced by a plug-in: {', '.join(found[:5])}"
        return ""
