"""What a run of a study gives for a table of a reproduction: values by seed, cells, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pandas import DataFrame

from ebmark.stats.bootstrap import seed_interval
from ebmark.stats.intervals import Array, Interval
from ebmark.store import Tables, read


@dataclass(frozen=True, kw_only=True)
class Run:
    """The trials of a results folder with their curves.

    Attributes:
        tables: as read.
        trials: one row per trial, ``column`` naming its data set.
        curve: rows of its evaluations, none of the method's own generator.
    """

    tables: Tables
    trials: DataFrame
    curve: DataFrame

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The run in a folder.

        Raises:
            StoreError: there are no results in it.
        """
        tables = read(folder)
        dims = tables.trials["dim"].astype("Int64").astype(str)
        trials = tables.trials.assign(column=tables.trials["dataset_label"] + " d = " + dims)
        curve = tables.curve[tables.curve["source"].isin(["", "smc"])]
        return cls(tables=tables, trials=trials.sort_values("seed"), curve=curve)

    def lane(self, lane: str) -> DataFrame:
        """The trials of a lane."""
        return self.trials[self.trials["lane"] == lane]

    def values(self, trials: DataFrame, quantity: str, over: str | None = None) -> Array:
        """A quantity of each of the trials that are ok.

        Args:
            trials: some of this run's, of one cell.
            quantity: ``first METRIC`` or ``last METRIC`` of a curve, ``growth D D`` of a step, a column of
                trials, or one of ``DERIVED``.
            over: the method whose mean of the same quantity divides it, on the same seeds and repeats; the
                values are then those of ``ratio``.
        """
        trials = trials[trials["status"] == "ok"]
        if over is None or trials.empty:
            return self._values(trials, quantity)
        at, pair = trials.iloc[0], ["seed", "repeat"]
        beside = self.lane(at["lane"])
        beside = beside[(beside["method_label"] == over) & (beside["column"] == at["column"])]
        beside = beside[beside["status"] == "ok"].set_index(pair)
        both = trials.set_index(pair).index.intersection(beside.index)
        own, other = (t.loc[both].reset_index() for t in (trials.set_index(pair), beside))
        return ratio(self._values(own, quantity), self._values(other, quantity))

    def _values(self, trials: DataFrame, quantity: str) -> Array:
        where, *rest = quantity.split(" ")
        if where in ("first", "last"):
            return self._at(trials, rest[0], where)
        if where == "growth":
            return self._growth(trials, *map(int, rest))
        if quantity in DERIVED:
            derived: Array = DERIVED[quantity](self, trials)
            return derived
        return trials[quantity].to_numpy(dtype=float)

    def _growth(self, trials: DataFrame, small: int, large: int) -> Array:
        """Seconds of a step at the dimension ``large`` over those at ``small``, with the errors of both."""
        at = [trials[trials["dim"] == d].set_index("repeat")["step_seconds"] for d in (large, small)]
        both = at[0].index.intersection(at[1].index)
        return ratio(*(seconds.loc[both].to_numpy(dtype=float) for seconds in at))

    def _at(self, trials: DataFrame, metric: str, where: str) -> Array:
        rows = self.curve[(self.curve["metric"] == metric) & self.curve["id"].isin(trials["id"])]
        edge = rows.groupby("id")["step"].transform("min" if where == "first" else "max")
        by_id = rows[rows["step"] == edge].set_index("id")["value"]
        return np.asarray(trials["id"].map(by_id.to_dict()), dtype=float)

    def trusted(self, trials: DataFrame, quantity: str) -> bool:
        """Whether every value at the last checkpoint may be ranked; of a cost, whether every timing may."""
        if trials["lane"].iloc[0] == "cost":
            return quantity != "step_seconds" or bool(trials["trusted"].all())
        rows = self.curve[self.curve["id"].isin(trials["id"])]
        rows = rows[rows["metric"] == quantity.partition(" ")[2]]
        rows = rows[rows["step"] == rows.groupby("id")["step"].transform("max")]
        return bool(rows["trusted"].all())

    def how(self, command: str) -> str:
        """The command, what it ran, when, where and for how long."""
        trials, env = self.trials, self.tables.env.iloc[0]
        begin, end = trials["started"].min(), trials["finished"].max()
        busy = (trials["finished"] - trials["started"]).dt.total_seconds() / trials["together"].clip(lower=1)
        counts = trials["status"].value_counts()
        statuses = ", ".join(f"{n} {status}" for status, n in counts.items())
        return (
            f"`{command}`: {len(trials)} trials ({statuses}), {begin:%Y-%m-%d}, "
            f"{env['cpu']}, {env['cores']} cores; {_minutes(busy.sum())} of trials, "
            f"{_minutes((end - begin).total_seconds())} from first to last."
        )


def _minutes(seconds: float) -> str:
    """Whole minutes, in words."""
    return f"{n} minute{'s' * (n != 1)}" if (n := round(seconds / 60)) else "less than a minute"


def ratio(a: Array, b: Array) -> Array:
    """Values whose mean is that of a over that of b, and whose spread is what pairing leaves of its error.

    a/b̄ - R (b/b̄ - 1) with R = ā/b̄, the influence of a pair on the ratio (the delta method).
    """
    centre = b.mean()
    return np.asarray(a / centre - a.mean() / centre * (b / centre - 1))


def _information(run: Run, trials: DataFrame) -> Array:
    """The estimate of the mutual information: the true one minus ``kl_own``."""
    settings = [json.loads(text) for text in trials["dataset_args"]]
    true = [s["dim"] / 4 if s["mi"] is None else s["mi"] for s in settings]
    return np.asarray(true, dtype=float) - run.values(trials, "last kl_own")


def _relative_variance(run: Run, trials: DataFrame) -> Array:
    """The points of a training set, all in one batch, times ``log_density_mse``.

    Its mean over data sets is n var(w) I(w), I the Fisher information: 1 for maximum likelihood.
    """
    return np.asarray(trials["batch"].to_numpy(dtype=float) * run.values(trials, "last log_density_mse"))


def _mebibytes(run: Run, trials: DataFrame) -> Array:
    """Peak memory."""
    return trials["memory"].to_numpy(dtype=float) / 2**20


DERIVED: Mapping[str, Any] = {
    "information": _information,
    "relative variance": _relative_variance,
    "MiB": _mebibytes,
}


def columns(trials: DataFrame) -> Mapping[str, str]:
    """The data sets as heads of a table: the settings in which they differ."""
    first = trials.drop_duplicates("column")
    settings = {c: json.loads(text) for c, text in zip(first["column"], first["dataset_args"], strict=True)}
    keys = {key for each in settings.values() for key in each}
    differ = sorted(key for key in keys if len({each[key] for each in settings.values()}) > 1)
    order = sorted(settings, key=lambda column: [settings[column][key] for key in differ])
    names = {"dim": "d"}
    return {
        column: ", ".join(f"{names.get(key, key)} = {settings[column][key]:g}" for key in differ) or "value"
        for column in order
    }


def cell(run: Run, trials: DataFrame, table: Mapping[str, Any]) -> str:
    """A quantity with its interval; † where it is not trusted, ``(2/3)`` where trials are missing."""
    if trials.empty:
        return "–"
    ok = trials[trials["status"] == "ok"]
    if ok.empty:
        return str(trials["status"].iloc[0])
    values = run.values(ok, table["quantity"], table.get("over"))
    text = number(seed_interval(values, log=table.get("log", False)))
    mark = "" if run.trusted(ok, table["quantity"]) else "†"
    share = f" ({len(ok)}/{len(trials)})" if len(ok) < len(trials) else ""
    return text + mark + share


def number(interval: Interval) -> str:
    """``0.12 [0.1, 0.15]``, the centre alone where there is no interval."""
    centre, lo, hi = (float(end) for end in (interval.centre, interval.lo, interval.hi))
    if np.isnan(centre):
        return "no value"
    if np.isnan(lo) or lo == hi:
        return _digits([centre])
    return f"{_digits([centre])} [{_digits([lo])}, {_digits([hi])}]"


def _digits(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
