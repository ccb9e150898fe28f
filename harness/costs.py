"""Measured costs: what earlier tables say of a step, of a set-up and of an evaluation, cell by cell.

``python -m ebmark.costs FOLDER...`` writes the table that is shipped for machines that measured nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from ebmark.env import machine
from ebmark.errors import StoreError
from ebmark.locations import Location, holds_results
from ebmark.parts import to_frame
from ebmark.tables import load, must_be_results

KINDS = ("forward", "input_gradient", "second_order", "backward")
CELL = ["method_label", "dataset_label", "net", "dim", "batch"]
KEYS = ["method", "network", *CELL]
STEP = [*KINDS, "executed", "step", "setup"]
EVALUATION = ["early", "last", "rank"]
NEWEST = 5  # folders beside the study's own that are read
ENOUGH = 20_000  # trials of a folder, drawn at random: medians need no more
TOGETHER = "together"  # in the place of a lane: a trial that shares a program takes less than one alone
_SHIPPED = "costs.json"
_TRIALS = [
    *("id", "lane", "method", "method_label", "dataset_label", "dim", "network", "network_args", "batch"),
    *("status", "attempt", "steps", "passes", *(f"passes_{kind}" for kind in KINDS), "executed"),
    *("wall", "wall_evaluation", "started", "finished", "together"),
]
_CURVE = ["id", "attempt", "step", "metric", "seconds"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Medians over the trials of each cell of one source.

    Attributes:
        name: of the source, for the user.
        steps: a row per cell and lane: ``KEYS``, ``lane``, passes per point and step by kind, ``executed``
            likewise, seconds of a ``step`` and of the ``setup`` (neither training nor evaluation).
        evaluation: a row per cell and metric: ``KEYS``, ``metric``, seconds at each ``early`` checkpoint and
            at the ``last``, and the ``rank`` in which metrics were taken.
    """

    name: str
    steps: pd.DataFrame
    evaluation: pd.DataFrame


def measured(folder: Location) -> Measured:
    """What the trials of a results folder cost; empty where none is ok.

    Raises:
        StoreError: not a results folder.
    """
    must_be_results(folder)
    trials = load(folder, "trials", _TRIALS).data
    if trials.num_rows > ENOUGH:
        trials = trials.take(np.random.default_rng(0).choice(trials.num_rows, ENOUGH, replace=False))
    curve = load(folder, "curve", _CURVE).data
    curve = curve.filter(pc.is_in(curve["id"], value_set=trials["id"]))
    newest = to_frame(trials).sort_values("attempt", kind="stable").drop_duplicates("id", keep="last")
    return aggregated(str(folder), newest, to_frame(curve))


def aggregated(name: str, trials: pd.DataFrame, curve: pd.DataFrame) -> Measured:
    """What these rows of the tables ``trials`` and ``curve`` cost."""
    ok = trials[(trials["status"] == "ok") & (trials["steps"] > 1)].copy()
    points = ok["steps"] * ok["batch"]
    ok["net"] = ok["network"] + ok["network_args"]
    ok["executed"] = ok["executed"].fillna(ok["passes"]) / points
    for kind in KINDS:
        ok[kind] = ok[f"passes_{kind}"] / points
    # Of trials in one program the seconds are shared out, and each lasts as long as all of them.
    together = ok["together"].fillna(1).clip(lower=1)
    ok.loc[together > 1, "lane"] = TOGETHER
    whole = (ok["finished"] - ok["started"]).dt.total_seconds() / together
    ok["step"] = ok["wall"] / (ok["steps"] - 1)
    ok["setup"] = (whole - ok["wall"] - ok["wall_evaluation"]).clip(lower=0)
    steps = ok.groupby(["lane", *KEYS], as_index=False)[STEP].median()
    evaluation = _evaluation(curve[_CURVE], ok[["id", "attempt", "wall_evaluation", *KEYS]])
    return Measured(name=name, steps=steps[steps["executed"] > 0], evaluation=evaluation)


def _evaluation(curve: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Each metric's share of the seconds of evaluation.

    The seconds of rows are scaled to the trial's: what two metrics share may be in both, pictures in none.
    """
    curve = curve.rename(columns={"step": "at"}).merge(trials, on=["id", "attempt"])
    by_trial = curve.groupby("id")
    checkpoints = (by_trial["at"].transform("nunique") - 1).clip(lower=1)
    at_last = curve["at"] == by_trial["at"].transform("max")
    seconds = curve["seconds"] * curve["wall_evaluation"] / by_trial["seconds"].transform("sum")
    early, last = seconds.where(~at_last, 0.0) / checkpoints, seconds.where(at_last, 0.0)
    timed = curve.assign(early=early, last=last, rank=by_trial.cumcount())[seconds.notna()]
    how = {"early": "sum", "last": "sum", "rank": "min"}
    each = timed.groupby(["id", "metric", *KEYS], as_index=False).agg(how)
    return each.groupby([*KEYS, "metric"], as_index=False)[EVALUATION].median()


def sources(folder: Location) -> list[Measured]:
    """Own tables first, then the newest beside them that this machine has written; empty where none is."""
    own: list[Location] = [folder] if holds_results(folder) else []
    beside = folder.parent.glob("*") if isinstance(folder, Path) else ()  # an object store is far to search
    others = [f for f in beside if f != folder and holds_results(f)]
    others.sort(key=lambda f: (f / "trials").stat().st_mtime_ns, reverse=True)
    found = []
    for one in [*own, *others[:NEWEST]]:
        try:
            if one == folder or machine() in _machines(one):
                found.append(measured(one))
        except StoreError:
            continue  # damaged, or of a newer version: a forecast can do without
    return [source for source in found if len(source.steps)]


def _machines(folder: Location) -> set[tuple[str, str]]:
    env = to_frame(load(folder, "env", ["host", "cpu"]).data)
    return set(zip(env["host"], env["cpu"], strict=True))


def shipped() -> Measured:
    """The table that comes with ebmark, measured on another machine."""
    stored = json.loads(resources.files("ebmark.studies").joinpath(_SHIPPED).read_text())
    return Measured(
        name=stored["made"],
        steps=pd.DataFrame(stored["steps"], columns=["lane", *KEYS, *STEP]),
        evaluation=pd.DataFrame(stored["evaluation"], columns=[*KEYS, "metric", *EVALUATION]),
    )


def write_shipped(folders: Sequence[Path], path: Path) -> None:
    """Writes the table to ship, without data sets (steps), methods (evaluation) and settings of networks."""
    parts = [measured(folder) for folder in folders]
    steps = pd.concat([part.steps for part in parts]).assign(dataset_label="")
    evaluation = pd.concat([part.evaluation for part in parts]).assign(method="", method_label="")
    env = to_frame(load(folders[0], "env", ["cpu", "cores"]).data).iloc[0]
    made = f"{', '.join(folder.name for folder in folders)} on {env['cores']} cores of an {env['cpu']}"
    content = {
        "made": json.dumps(made),
        "steps": _lines(steps, ["lane", *KEYS], STEP),
        "evaluation": _lines(evaluation, [*KEYS, "metric"], EVALUATION),
    }
    path.write_text("{\n" + ",\n".join(f'"{key}": {text}' for key, text in content.items()) + "\n}\n")


def _lines(frame: pd.DataFrame, keys: list[str], values: list[str]) -> str:
    """Medians by ``keys`` as JSON, a row per line, three digits of each number."""
    rows = frame.assign(net=frame["network"]).groupby(keys, as_index=False)[values].median()
    return "[\n" + ",\n".join(json.dumps([*map(_short, row)]) for row in rows.to_numpy(object)) + "\n]"


def _short(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    write_shipped([Path(name) for name in sys.argv[1:]], Path(__file__).parent / "studies" / _SHIPPED)
