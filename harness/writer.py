"""Stores the records of a run: trials go on while the disk is busy, and what ends meanwhile waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from ebmark.record import Record
from ebmark.store import Store

MOST = 1000  # records that wait for the disk; then the run waits too
# A part costs about 10 ms of the processor, a record in it 0.3: short trials that end one by one share parts.
PAUSE = 0.2  # seconds between two parts, unless somebody waits for them
ENOUGH = 100  # records that wait end the pause


class Writer:
    """A thread that appends to a store, all that wait in one go; a context manager.

    A trial counts as finished when its record is on disk.

    Args:
        store: takes the records.
        stored: called with each record that is on disk, in the writer's thread.
    """

    def __init__(self, store: Store, stored: Callable[[Record], None]) -> None:
        self._store, self._stored = store, stored
        self._queue: queue.Queue[Record | None] = queue.Queue(MOST)
        self._error: BaseException | None = None
        self._hurry = threading.Event()
        self._next = 0.0  # when the next part may begin, on the monotonic clock
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._hurry.set()
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._check()

    def put(self, record: Record) -> None:
        """Hands over a record; raises what an earlier one met, a ``StoreError`` where the disk is full."""
        self._check()
        self._queue.put(record)

    def flush(self) -> None:
        """Waits until everything is on disk."""
        self._hurry.set()
        self._queue.join()
        self._hurry.clear()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (batch := self._batch()) is not None:
            try:
                if self._error is None:
                    self._append(batch)
                    self._next = time.monotonic() + PAUSE
            except BaseException as error:  # noqa: BLE001  # it is raised where the run goes on
                self._error = error
            for _ in batch:
                self._queue.task_done()

    def _batch(self) -> list[Record] | None:
        """All that waits, at least one record; None at the end."""
        found = [self._queue.get()]
        while time.monotonic() < self._next and self._queue.qsize() < ENOUGH and not self._hurry.wait(0.01):
            pass
        while found[-1] is not None and not self._queue.empty():
            found.append(self._queue.get())
        if found[-1] is None:
            self._queue.put(None)  # the next call finds the end again
            self._queue.task_done()
            found.pop()
        return [record for record in found if record is not None] or None

    def _append(self, batch: Sequence[Record]) -> None:
        self._store.append(batch)
        for record in batch:
            self._stored(record)
