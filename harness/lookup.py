"""One trial of a results folder, by the beginning of its id, and the command that runs it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pandas import DataFrame, Series

from ebmark.errors import StoreError
from ebmark.locations import Location
from ebmark.planfile import read_plan


def found(trials: DataFrame, id: str, folder: Location, asked: str) -> Series[Any]:
    """The row of the trial whose id begins so.

    Args:
        trials: of the folder.
        id: the beginning, long enough to fit one trial.
        folder: for the message.
        asked: who asks, for the message, e.g. ``ebmark show``.

    Raises:
        StoreError: none begins so, or several; with some that there are, or the folder that has it.
    """
    rows = trials[trials["id"].str.startswith(id)]
    if len(rows) == 1:
        return rows.iloc[0]
    some = ", ".join((trials if rows.empty else rows)["id"].head(3))
    if len(rows):
        raise StoreError(f"{id}: {len(rows)} trials begin so in {folder}, give more digits: {some}, ...")
    beside = sorted(folder.parent.glob("*/")) if isinstance(folder, Path) else []
    others = [path for path in beside if path.name != folder.name]
    for other in others:
        if any(known.startswith(id) for known in read_plan(other)):
            raise StoreError(f"{id}: no trial begins so in {folder}; {asked} {id} {shlex.quote(str(other))}")
    raise StoreError(f"{id}: no trial begins so in {folder}; there are {some}, ...")


def again(folder: Location, trial: Series[Any]) -> str:
    """The command line that runs a stored trial again; ``--debug`` after it shows how it goes."""
    options = f" {trial['options']}" if trial.get("options") else ""
    spec, place = shlex.quote(str(folder / "spec.toml")), shlex.quote(str(folder))
    return f"ebmark run {spec} -o {place}{options} --only {trial['id']}"
