"""``plan.json`` beside the results: what the last run was to do, and how long each part of it should take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ebmark.parts import write_atomic

FILE = "plan.json"


def read_plan(folder: Path) -> dict[str, float]:
    """By trial id in plan order, the seconds that the trial is expected to add to the run's wall-clock.

    In the quality lane these are its own seconds over the number of trials side by side. Empty where there is
    no plan; all 0 in a plan of before there were forecasts.
    """
    path = folder / FILE
    stored = json.loads(path.read_text()) if path.exists() else {}
    return dict.fromkeys(stored, 0.0) if isinstance(stored, list) else stored


def write_plan(folder: Path, seconds: Mapping[str, float]) -> None:
    """Stores the plan."""
    rounded = {id: float(f"{value:.3g}") for id, value in seconds.items()}
    write_atomic(folder / FILE, json.dumps(rounded).encode())
