"""``running.json`` beside the results: what a run does now, for ``ebmark status`` in another terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ebmark.locations import Location
from ebmark.parts import one_line_errors, read_json, write_atomic

FILE = "running.json"
_KEYS = {"counts", "finished", "total", "seconds", "seconds_left", "rate", "nodes", "running", "slowest"}


def write_run(folder: Location, state: Mapping[str, Any]) -> None:
    """Replaces what was written before."""
    write_atomic(folder / FILE, json.dumps(state).encode())


def read_run(folder: Location) -> dict[str, Any]:
    """What the run says that is writing to ``folder``; empty where none has said anything."""
    return read_json(folder / FILE, lambda state: isinstance(state, dict) and set(state) >= _KEYS) or {}


def remove_run(folder: Location) -> None:
    """The run has ended."""
    with one_line_errors(folder / FILE):
        (folder / FILE).unlink(missing_ok=True)
