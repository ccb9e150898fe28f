"""One wide table of a results folder, for pandas, R or a spreadsheet: a row per trial."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from ebmark.tables import Tables

_ENV = ("cpu", "cores", "gpu", "os")
_SETTINGS = ("method", "dataset", "network")


def wide(tables: Tables) -> pd.DataFrame:
    """The columns of ``trials``, each setting, each metric at the last step, and the machine.

    A setting ``k`` of the method stands in ``method.k``, and likewise for the data set and the network. A
    metric stands in ``<metric>``, or ``<metric>.<source>`` where its samples have a source, with its standard
    error in ``<metric>.se`` and whether it may be ranked in ``<metric>.trusted``; empty where the trial has
    none. The machine stands in ``env.cpu`` and so on.
    """
    trials = tables.trials
    settings = [_settings(trials[f"{kind}_args"], kind) for kind in _SETTINGS]
    env = tables.env.drop_duplicates("env").set_index("env")[list(_ENV)].add_prefix("env.")
    beside = [env.reindex(trials["env"]), _final(tables).reindex(trials["id"])]
    return pd.concat([trials, *settings, *(each.set_axis(trials.index) for each in beside)], axis=1)


def _settings(column: pd.Series[Any], kind: str) -> pd.DataFrame:
    """A column of JSON objects as columns; lists stay JSON."""
    each = {text: _parsed(text) for text in column.unique()}
    frame = pd.DataFrame([each[text] for text in column], index=column.index)
    return frame.add_prefix(f"{kind}.")


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    plain = found if isinstance(found, dict) else {}
    return {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in plain.items()}


def _final(tables: Tables) -> pd.DataFrame:
    """By trial id, value, standard error and trust of each metric at the trial's last step."""
    curve = tables.curve
    last = curve[curve["step"] == curve.groupby("id")["step"].transform("max")]
    source = ("." + last["source"]).where(last["source"] != "", "")
    what = {"value": "", "se": ".se", "trusted": ".trusted"}
    named = last.assign(name=last["metric"] + source).drop_duplicates(["id", "name"], keep="last")
    found = named.pivot(index="id", columns="name", values=list(what))
    found.columns = pd.Index([f"{name}{what[str(column)]}" for column, name in map(tuple, found.columns)])
    order = [f"{name}{end}" for name in named["name"].unique() for end in what.values()]
    return found[order].infer_objects()
