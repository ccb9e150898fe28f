"""The lock of an object store, which knows no locks: claims that a writer lays down and keeps touching.

A writer writes a claim of its own, then lists all claims. If another one is alive it takes its own away and
is refused; two that begin at once both see each other, and try again after random pauses. As a listing holds
everything that was written before it (S3, Google Cloud Storage and Azure promise so), two cannot both hold.
A writer that was held up for longer than ``STALE`` finds its claim gone when it goes on, and writes no more;
only what it was sending at that very moment can still arrive. (S3's own conditional writes would close even
that, but pyarrow has no call for them.)
"""

from __future__ import annotations

import json
import random
import secrets
import time
from datetime import datetime

from ebmark.errors import StoreError
from ebmark.locations import Remote
from ebmark.lock import BEAT, STALE, Beat, is_dead, mark, refused

_FOLDER = ".lock"
_TRIES, _PAUSE = 4, 0.5


class Lease:
    """A claim that is alone.

    Raises:
        StoreError: another writer holds one.
        OSError: the store cannot be written.
    """

    def __init__(self, folder: Remote) -> None:
        self._folder, self._claim = folder, folder / _FOLDER / secrets.token_hex(8)
        (folder / _FOLDER).mkdir()
        for attempt in range(_TRIES):
            self._touch()
            try:
                others = _alive(folder, self._claim.name)
            except BaseException:
                self._claim.unlink(missing_ok=True)
                raise
            if not others:
                break
            self._claim.unlink(missing_ok=True)
            if attempt + 1 < _TRIES:
                time.sleep(random.uniform(0.2, 1) * _PAUSE)
        else:
            (other, age), *_ = others
            raise refused(folder, _content(other), age, str(other))
        self._beat = Beat(self._again)

    def check(self) -> None:
        """After a pause (a suspended machine, a network away) sees whether the claim still stands.

        Raises:
            StoreError: it does not.
        """
        if _clock() - self._touched < 2 * BEAT:
            return
        if not self._claim.exists() or _alive(self._folder, self._claim.name):
            raise StoreError(
                f"{self._folder}: another run took over while this one stood still for "
                f"{_clock() - self._touched:.0f} s; nothing more is written, the other run goes on"
            )
        self._touch()

    def release(self) -> None:
        """Takes the claim away."""
        self._beat.stop()
        self._claim.unlink(missing_ok=True)

    def _again(self) -> None:
        if _clock() - self._touched < STALE / 2:  # else ``check`` looks first
            self._touch()

    def _touch(self) -> None:
        self._claim.write_bytes(mark().encode())
        self._touched = _clock()


def is_leased(folder: Remote) -> bool:
    """Whether a writer is alive."""
    return bool(_alive(folder, ""))


def _alive(folder: Remote, own: str) -> list[tuple[Remote, float]]:
    """The claims of other writers that are not dead, with their age in seconds; removes those that are.

    The age is by the store's clock if there is an own claim, else by this machine's.
    """
    found = [(place, time_) for place, time_ in (folder / _FOLDER).listing() if time_ is not None]
    now = next((time_ for place, time_ in found if place.name == own), datetime.now().astimezone())
    alive = []
    for place, time_ in found:
        age = (now - time_).total_seconds()
        if place.name == own:
            continue
        if age < STALE and not is_dead(_content(place)):
            alive.append((place, max(age, 0.0)))
        elif own:
            place.unlink(missing_ok=True)
    return alive


def _content(claim: Remote) -> str:
    try:
        return claim.read_text()
    except (OSError, ValueError):
        return json.dumps({})


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
