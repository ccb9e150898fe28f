"""In which order the trials of a run go to the runner, and how their records come back to the store."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from ebmark.pace import kind
from ebmark.progress import Progress
from ebmark.record import Record
from ebmark.runners import Job, Runner
from ebmark.store import Store
from ebmark.writer import Writer

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def longest_first(jobs: Sequence[Job], seconds: Mapping[str, float]) -> list[Job]:
    """The jobs by what their trials are expected to take; those of equal length stay in plan order."""
    return sorted(jobs, key=lambda job: -seconds[job.trial.id])


def run_lanes(
    store: Store,
    jobs: Sequence[Job],
    follow_up: Callable[[], tuple[list[Job], Mapping[str, float]]],
    runner: Runner,
    progress: Progress,
) -> bool:
    """Runs all lanes; returns whether the user interrupted.

    Args:
        store: takes the records.
        jobs: to run.
        follow_up: what is to be run besides, once every job outside the cost lane has ended, and the seconds
            by which it will lengthen the run.
        runner: runs them, and is closed at the end.
        progress: counts them, and knows how long they should take.
    """
    packed = [job for job in jobs if job.trial.lane != "cost"]
    cost = [job for job in jobs if job.trial.lane == "cost"]
    random.Random(0).shuffle(cost)

    def run(lane: list[Job], *, exclusive: bool) -> None:
        for record in stoppable(runner.run(lane, exclusive=exclusive)):
            writer.put(record)
            if exclusive or runner.slots == 1:
                writer.flush()  # nothing is written beside a trial whose time counts
        writer.flush()

    try:
        with progress, Writer(store, progress.add) as writer:
            run(longest_first(packed, progress.left), exclusive=False)
            more, seconds = follow_up()
            progress.extend(seconds, {job.trial.id: kind(job.trial) for job in more})
            run(longest_first(more, seconds), exclusive=False)
            progress.quiet = True
            run(cost, exclusive=True)
    except KeyboardInterrupt:
        return True
    finally:
        runner.close()
    return False


def stoppable(records: Iterator[Record]) -> Iterator[Record]:
    """The records; what ends a run takes effect inside the runner only, never while one is handed over.

    That is Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed. The runner then yields a ``cancelled``
    record for each trial in flight before it raises ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread() or not isinstance(records, Generator):
        yield from records
        return
    waiting, asked = False, False

    def on_interrupt(*_: object) -> None:
        nonlocal asked
        if waiting:
            raise KeyboardInterrupt
        asked = True

    # What is ignored stays so: `nohup` asks for it, and shells do for what they run in the background.
    # A handler that was not set from Python (None) could not be put back.
    heeded = [number for number in STOPS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, on_interrupt) for number in heeded}
    try:
        while True:
            waiting = True
            try:
                record = records.throw(KeyboardInterrupt()) if asked else next(records)
            except StopIteration:
                return
            finally:
                waiting = False
            asked = False
            yield record
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
