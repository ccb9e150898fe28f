"""What a process may take of a machine, and what it has taken."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE = resource.getpagesize()
_SET_CHILD_SUBREAPER = 36  # of prctl(2)
_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    return _statm(1)


@contextmanager
def capped(memory: int | None) -> Iterator[None]:
    """Allocations inside fail once this process has taken ``memory`` bytes beyond what it has; None: no cap.

    The limit is on private writable memory as it is asked for, touched or not.
    """
    if memory is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _statm(5) + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def adopt() -> None:
    """From now on a process whose parent has ended becomes a child of this one, if it descends from it."""
    with suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kills the processes that this one has started and not waited for, and those that it has adopted."""
    with suppress(ChildProcessError):  # that there is none is the end
        while True:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            if not (children := _children()):  # where the system lists no processes
                return
            for child in children:
                with suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            for child in children:  # theirs are ours now: the next round
                os.waitpid(child, 0)


def _children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything, come the state and the parent.
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _statm(column: int) -> int:
    with suppress(OSError):
        return int(_STATM.read_text().split()[column]) * PAGE
    return 0
