"""``plan.json`` beside the results: what the last run was to do, and how long each part of it should take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ebmark.locations import Location
from ebmark.parts import read_json, write_atomic

FILE = "plan.json"


def read_plan(folder: Location) -> dict[str, float]:
    """By trial id in plan order, the seconds that the trial is expected to add to the run's wall-clock.

    In the quality lane these are its own seconds over the number of trials side by side. Empty where there is
    no plan; all 0 in a plan of before there were forecasts.
    """
    stored = read_json(folder / FILE, _is_plan)
    if isinstance(stored, list):
        return dict.fromkeys(stored, 0.0)
    return {id: value if math.isfinite(value) else 0.0 for id, value in (stored or {}).items()}


def _is_plan(stored: Any) -> bool:
    values = stored.values() if isinstance(stored, dict) else ()
    ids = stored if isinstance(stored, dict | list) else (None,)
    return all(isinstance(id, str) for id in ids) and all(type(value) in (int, float) for value in values)


def write_plan(folder: Location, seconds: Mapping[str, float]) -> None:
    """Stores the plan."""
    rounded = {id: float(f"{value:.3g}") for id, value in seconds.items()}
    write_atomic(folder / FILE, json.dumps(rounded).encode())
