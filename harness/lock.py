"""The lock of a results folder: one writer, whom the kernel forgets when it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from pathlib import Path

from ebmark.errors import StoreError

_FILE = ".lock"
_TRIES, _PAUSE = 5, 0.02  # ``is_locked`` holds the lock for a moment


def acquire(folder: Path) -> int:
    """Locks ``folder`` for this process and writes into the lock's file who holds it.

    Returns:
        A file descriptor; closing it frees the lock.

    Raises:
        StoreError: another process, or this one, holds it.
        OSError: the file cannot be written.
    """
    descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(descriptor):
            owner = os.read(descriptor, 1000).decode(errors="replace").strip() or "an unknown process"
            mend = "wait for it, or write elsewhere with `-o DIR`"
            raise StoreError(f"{folder}: another run is writing here ({owner}); {mend}")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _taken(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def is_locked(folder: Path) -> bool:
    """Whether a run is writing to ``folder`` now."""
    try:
        descriptor = os.open(folder / _FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
