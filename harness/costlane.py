"""The cost lane is one measurement: a study that grows has it repeated whole.

A machine drifts by more from one day to the next (13 % was seen) than many methods differ, so that seconds
per step compare only within one interleaved run. Where a plan holds cost trials that no plan before it held,
the attempts measured so far are out of date. An interrupted run is no growth: it resumes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ebmark.locations import Location
from ebmark.parts import read_json, write_atomic

FILE = "cost.json"
OUTDATED = "measured before the study grew, or in another run: run the study again"


@dataclass(frozen=True, kw_only=True)
class CostLane:
    """What is known of a folder's cost lane.

    Attributes:
        planned: ids of every cost trial that a plan has held.
        outdated: the newest attempt, by id, that no longer compares with the others.
    """

    planned: frozenset[str] = frozenset()
    outdated: Mapping[str, int] = field(default_factory=dict)

    def compares(self, id: str, attempt: int) -> bool:
        """Whether this attempt at a cost trial compares with the others."""
        return attempt > self.outdated.get(id, 0)

    def grown(self, cost: Sequence[str], attempts: Mapping[str, int]) -> CostLane:
        """The lane under a plan with the trials ``cost``, given each stored cost trial's newest attempt.

        A folder without a record of its plans has planned what it holds.
        """
        planned = self.planned or frozenset(attempts)
        has_grown = bool(attempts) and not planned.issuperset(cost)
        return CostLane(
            planned=planned.union(cost),
            outdated={**self.outdated, **attempts} if has_grown else self.outdated,
        )


def read_lane(folder: Location) -> CostLane:
    """The record of a folder, empty where there is none."""
    stored = read_json(folder / FILE, _is_lane)
    if stored is None:
        return CostLane()
    return CostLane(planned=frozenset(stored["planned"]), outdated=stored["outdated"])


def write_lane(folder: Location, lane: CostLane) -> None:
    """Stores the record."""
    content = {"planned": sorted(lane.planned), "outdated": dict(lane.outdated)}
    write_atomic(folder / FILE, json.dumps(content).encode())


def _is_lane(stored: Any) -> bool:
    if not isinstance(stored, dict):
        return False
    planned, outdated = stored.get("planned"), stored.get("outdated")
    if not (isinstance(planned, list) and isinstance(outdated, dict)):
        return False
    return all(isinstance(id, str) for id in planned) and all(type(n) is int for n in outdated.values())
