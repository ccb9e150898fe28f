"""``ebmark show``."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from pandas import DataFrame, Series

from ebmark.console import Console
from ebmark.locations import Location
from ebmark.lookup import again, found
from ebmark.showing import duration
from ebmark.store import read

SETTINGS = (
    "study",
    "options",
    "lane",
    "seed",
    "repeat",
    "method_label",
    "method_args",
    "resolved",
    "dataset_label",
    "dataset_args",
    "dim",
    "network",
    "network_args",
    "optimiser",
    "rate_factor",
    "budget",
    "batch",
    "device",
    "threads",
)
LAST = ("step", "player", "loss", "gradient")
PHASES = ("data", "sampling", "loss", "backward", "optimiser")
WORK = (
    "passes_forward",
    "passes_input_gradient",
    "passes_second_order",
    "passes_backward",
    "passes",
    "executed",
)


def show(console: Console, id: str, folder: Location) -> None:
    """One trial: settings, costs, curve, how it ended, and the command that repeats it.

    Of a crash the traceback, of a divergence the last losses and gradient norms.

    Raises:
        StoreError: not a results folder, or the beginning of the id fits no trial or several.
    """
    tables = read(folder)
    trial = found(tables.trials, id, folder, "ebmark show")
    curve = tables.curve[tables.curve["id"] == trial["id"]]
    console.say(f"{trial['id']}  {trial['status']}{_colon(trial['reason'])}  attempt {trial['attempt']}")
    _section(console, "settings", {name: trial[name] for name in SETTINGS})
    _section(console, "cost", _cost(trial))
    if len(curve):
        rows, columns = _steps(curve)
        console.say("\ncurve")
        console.table(rows, columns)
        for line in _doubts(curve):
            console.say(f"  not trusted: {line}")
    last = json.loads(trial["last_steps"] or "[]")
    _failure(console, trial["traceback"], last)
    command = again(folder, trial)
    console.say(f"\nagain, and stored: {command}\nstep by step:      {command} --debug")
    console.document(
        {
            "folder": str(folder),
            "trial": _json(DataFrame([trial]))[0],
            "curve": _json(curve),
            "env": _json(tables.env[tables.env["env"] == trial["env"]]),
            "last_steps": last,
            "again": command,
            "debug": f"{command} --debug",
        }
    )


def _failure(console: Console, traceback: str, last: list[dict[str, Any]]) -> None:
    """What is known of a crash and of a divergence."""
    if traceback:
        console.say(f"\ntraceback\n{traceback.rstrip()}")
    if last:
        console.say(f"\nthe last {len(last)} losses and gradient norms")
        console.table([{k: "none" if v is None else v for k, v in row.items()} for row in last], LAST)


def _cost(trial: Series[Any]) -> dict[str, Any]:
    """Seconds by phase with their share, work in F, memory, and whether the clock is trusted."""
    wall = trial["wall"]
    lines: dict[str, Any] = {"steps": trial["steps"]}
    if wall > 0:
        lines["training"] = _seconds(wall)
        shares = {phase: trial[f"wall_{phase}"] / wall for phase in PHASES}
        lines["of it"] = ", ".join(f"{phase} {share:.0%}" for phase, share in shares.items())
    if not pd.isna(trial["wall_evaluation"]):
        lines["evaluation"] = _seconds(trial["wall_evaluation"])
    lines["seconds per step"] = f"{trial['step_seconds']:.3g}" if trial["step_seconds"] > 0 else ""
    lines |= {f"{name} (F)": f"{trial[name]:.4g}" for name in WORK if trial[name] > 0}
    if trial["memory"] > 0:
        lines["peak memory"] = f"{trial['memory'] / 2**20:.0f} MiB"
    trusted = not pd.isna(trial["trusted"]) and bool(trial["trusted"])
    lines["wall-clock"] = "trusted" if trusted else f"not trusted{_colon(trial['distrust'])}"
    return lines


def _steps(curve: DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per checkpoint, a column per metric, ``metric (source)`` where samples come from a sampler."""
    source = curve["source"].astype(object).fillna("").map(lambda name: f" ({name})" if name else "")
    wide = curve.assign(what=curve["metric"].astype(str) + source).pivot_table(
        index="step", columns="what", values="value", aggfunc="last", sort=False
    )
    wide = wide.sort_index()
    rows = [
        {"step": step, **{str(name): "" if pd.isna(x) else f"{x:.4g}" for name, x in values.items()}}
        for step, values in zip(wide.index, wide.to_dict("records"), strict=True)
    ]
    return rows, ["step", *map(str, wide.columns)]


def _doubts(curve: DataFrame) -> list[str]:
    """The metrics that are not trusted at the last checkpoint, with the reason."""
    last = curve[curve["step"] == curve["step"].max()]
    bad = last[~last["trusted"].map({True: True, False: False}).fillna(False).astype(bool)]
    return [f"{row['metric']}{_colon(row['reasons'])}" for _, row in bad.iterrows()]


def _section(console: Console, title: str, lines: dict[str, Any]) -> None:
    """Lines of name and value; empty ones are left out."""
    console.say(f"\n{title}")
    known = {name: value for name, value in lines.items() if not pd.isna(value) and value not in ("", "{}")}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        console.say(f"  {name:<{width}}  {value}")


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"


def _colon(reason: Any) -> str:
    return "" if pd.isna(reason) or not reason else f": {reason}"


def _json(frame: DataFrame) -> list[dict[str, Any]]:
    """Rows with None for what is missing."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso"))
    return rows
