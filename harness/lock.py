"""The lock of a results folder: one writer at a time, told from one that has died.

In a local folder it is the kernel's lock on the file ``.lock``, which ends with its holder, however it ends.
A folder that hosts share may not carry such a lock from one to the next, and an object store has none: there
a writer touches its mark every ``BEAT`` seconds, and a mark that is older than ``STALE`` by the store's own
clock is that of a dead writer. Where the mark is that of a process of this host that is gone, nobody waits.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ebmark.errors import StoreError
from ebmark.locations import Location

BEAT, STALE = 20.0, 120.0  # seconds
_FILE = ".lock"
_TRIES, _PAUSE = 5, 0.02  # ``is_locked`` holds the lock for a moment
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # what a shared folder may answer
MEND = "wait for it, or write elsewhere with `-o DIR`"


class Lock(Protocol):
    """What the holder has."""

    def check(self) -> None:
        """Raises a one-line ``StoreError`` where another writer has taken over meanwhile."""

    def release(self) -> None:
        """Lets the next one in."""


def acquire(folder: Location) -> Lock:
    """Locks ``folder`` for this process and leaves a mark that says who holds it.

    Raises:
        StoreError: another process, or this one, holds it.
        OSError: the mark cannot be written.
    """
    if isinstance(folder, Path):
        return _Kernel(folder)
    from ebmark.lease import Lease

    return Lease(folder)


def is_locked(folder: Location) -> bool:
    """Whether a run is writing to ``folder`` now."""
    if not isinstance(folder, Path):
        from ebmark.lease import is_leased

        return is_leased(folder)
    try:
        descriptor = _opened(folder / _FILE, os.O_RDONLY)
    except OSError:
        return False
    judge = _elsewhere
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        judge = _alive  # no such locks here: the mark has to do
    finally:
        owner, touched = _owner(descriptor), os.fstat(descriptor).st_mtime
        os.close(descriptor)
    return judge(owner) and time.time() - touched < STALE


class _Kernel:
    """The lock of a folder on a disk, local or shared."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._descriptor = _opened(self._path, os.O_RDWR | os.O_CREAT)
        try:
            owner = _owner(self._descriptor)
            taken = _taken(self._descriptor)
            if taken is False:
                owner = _owner(self._descriptor) or owner
                raise refused(folder, owner)
            judge = _alive if taken is None else _elsewhere
            if judge(owner) and (age := self._age(folder)) < STALE:
                raise refused(folder, owner, age, str(self._path))
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, mark().encode(), 0)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._beat = Beat(lambda: os.utime(self._descriptor))

    def _age(self, folder: Path) -> float:
        """Seconds since the mark was touched, both times by the clock of the file system."""
        with tempfile.TemporaryFile(dir=folder, prefix=_FILE) as now:
            age = os.fstat(now.fileno()).st_mtime - os.fstat(self._descriptor).st_mtime
        if age < -BEAT:  # that clock was set back: a mark of the future would hold for as long
            os.utime(self._descriptor)
        return max(age, 0.0)

    def check(self) -> None:
        """Nothing: the kernel takes no lock away."""

    def release(self) -> None:
        """Empties the mark and gives the lock back."""
        self._beat.stop()
        try:
            os.ftruncate(self._descriptor, 0)
        finally:
            os.close(self._descriptor)


class Beat:
    """Calls ``touch`` every ``BEAT`` seconds from a thread of its own, until it is stopped."""

    def __init__(self, touch: Callable[[], None]) -> None:
        self._touch, self._stopped = touch, threading.Event()
        self._thread = threading.Thread(target=self._work, name="lock", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopped.wait(BEAT):
            try:
                self._touch()
            except OSError:
                continue  # the next one may succeed; a store that cannot be reached fails the writer too

    def stop(self) -> None:
        """Waits for the last call."""
        self._stopped.set()
        self._thread.join()


def mark() -> str:
    """Who this process is, in one line of JSON."""
    kernel, since = _kernel(), _since(os.getpid())
    return json.dumps({"process": os.getpid(), "host": platform.node(), "kernel": kernel, "since": since})


def refused(folder: Location, owner: str, age: float | None = None, place: str = "") -> StoreError:
    """What the second writer is told: who holds the lock and, where it beats, how it ends.

    Args:
        folder: of the results.
        owner: the mark of the holder.
        age: seconds since it was touched.
        place: of the mark.
    """
    found = _parsed(owner)
    who = "an unknown process"
    if found:  # anyone may have written the mark
        who = f"process {_short(found['process'])} on {_short(found['host'])}"
    what = "another run is writing here"
    if age is None:
        return StoreError(f"{folder}: {what} ({who}); {MEND}")
    end = f"if it has died, try again in {max(STALE - age, 1):.0f} s or remove {place}"
    return StoreError(f"{folder}: {what} ({who}, seen {max(age, 0):.0f} s ago); {MEND}; {end}")


def _short(value: object) -> str:
    return " ".join(str(value).split())[:60]


def is_dead(owner: str) -> bool:
    """Whether a mark is that of a process of this host that is gone for sure."""
    found = _parsed(owner)
    if not found or found.get("kernel") != _kernel():
        return False
    return _since(found["process"]) != found.get("since")


def _elsewhere(owner: str) -> bool:
    """Whether a mark is that of another host, where the kernel here knows of no lock."""
    return _alive(owner) and _parsed(owner).get("host") != platform.node()


def _alive(owner: str) -> bool:
    """Whether a mark may be that of a living process."""
    return bool(_parsed(owner)) and not is_dead(owner)


def _parsed(owner: str) -> dict[str, object]:
    try:
        found = json.loads(owner)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and {"process", "host"} <= set(found) else {}


def _kernel() -> str:
    """What tells this running system and its process ids from any other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _since(process: object) -> str:
    """When a process began, by the kernel's clock; "" where there is none."""
    try:
        found = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return found.rpartition(")")[2].split()[19]


def _opened(path: Path, flags: int) -> int:
    """A descriptor of a file that is one: a link is not followed, a pipe not waited for."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path.name} is not a file")
    return descriptor


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 1000, 0).decode(errors="replace").strip()


def _taken(descriptor: int) -> bool | None:
    """Whether the kernel's lock was got; None where this folder has no such locks."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return None
        else:
            return True
    return False
