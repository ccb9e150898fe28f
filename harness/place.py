"""Where a trial runs."""

from __future__ import annotations

from dataclasses import dataclass

from ebmark.record import Row
from ebmark.saves import Saves


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial runs.

    Attributes:
        device: torch's name of the device.
        threads: torch threads to use.
        exclusive: nothing else of ours runs on this machine meanwhile.
        env: the row of the env table that describes the machine.
        saves: where a long trial is saved, None for nowhere.
    """

    device: str = "cpu"
    threads: int = 1
    exclusive: bool = False
    env: Row
    saves: Saves | None = None
