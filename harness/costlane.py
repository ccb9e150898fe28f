"""The cost lane is one measurement: a study that grows has it repeated whole.

A machine drifts by more from one day to the next (13 % was seen) than many methods differ, so that seconds
per step compare only within one interleaved run. Where a plan holds cost trials that the plan before it did
not, those measured earlier no longer count. An interrupted run is no growth: it resumes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ebmark.parts import write_atomic
from ebmark.trial import Trial

PLAN, SINCE = "plan.json", "cost_since.json"


def last_plan(folder: Path) -> list[str]:
    """The ids of the last run's plan, in its order; empty before the first run."""
    path = folder / PLAN
    ids: list[str] = json.loads(path.read_text()) if path.exists() else []
    return ids


def cost_since(folder: Path, plan: Sequence[Trial], stored: Collection[str]) -> datetime | None:
    """From when on a cost measurement counts: from now if the lane has grown; None where all count.

    It has grown where something is ``stored`` (ids of trials) and a cost trial is new to plan and store.
    """
    new = {trial.id for trial in plan if trial.lane == "cost"} - set(last_plan(folder)) - set(stored)
    if new and len(stored):
        return datetime.now(UTC)
    path = folder / SINCE
    return datetime.fromisoformat(json.loads(path.read_text())) if path.exists() else None


def write_plan(folder: Path, plan: Sequence[Trial], since: datetime | None) -> None:
    """Stores both; first the time, so that a run that is killed in between repeats the lane."""
    if since is not None:
        write_atomic(folder / SINCE, json.dumps(since.isoformat()).encode())
    write_atomic(folder / PLAN, json.dumps([trial.id for trial in plan]).encode())
