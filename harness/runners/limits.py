"""What a process may take of a machine, and what it has taken."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE = resource.getpagesize()
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


def _statm(column: int) -> int:
    with suppress(OSError):
        return int(_STATM.read_text().split()[column]) * PAGE
    return 0
