"""The headline of a study: each method against the best in its cell, pair by pair, as ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark.comparison import METHOD, PAIR, PLACE, RATIOS, SPEED, values
from ebmark.report.names import ORACLE
from ebmark.report.words import HIGHER
from ebmark.spec import TargetTable
from ebmark.stats import Array
from ebmark.tables import Tables

SIDES = ["method_label", "dataset_label", "dim", "network"]  # what names a cell


@dataclass(frozen=True, kw_only=True)
class Versus:
    """A method against the best in one cell and quantity.

    Attributes:
        cell: method, data set, dimension and network, as of ``SIDES``.
        against: the method with the smallest geometric mean there.
        what: the quantity.
        ratios: the method's value over that of the best, one per seed, NaN where either has none.
    """

    cell: tuple[str, str, int, str]
    against: str
    what: str
    ratios: Array

    def __str__(self) -> str:
        method, dataset, d, _ = self.cell
        return f"{method} against {self.against} on {dataset}, d = {d}: {self.what}"


def headline(tables: Tables, targets: Sequence[TargetTable]) -> list[Versus]:
    """Every method but the best in each cell: by the final Fisher divergence, and by what a target costs.

    A run that failed, is not trusted or does not reach the target has no value. The oracle is left out.

    Args:
        tables: of a results folder.
        targets: of its study.
    """
    final = values(tables)
    final = final[(final["lane"] == "quality") & final["what"].isin(set(RATIOS) - {SPEED})]
    frame = pd.concat([final, *(_to_target(tables, target) for target in targets)])
    frame = frame[np.isfinite(frame["value"]) & (frame["value"] > 0)]
    frame = frame[frame["method_label"].astype(str).str.split("[").str[0] != ORACLE]
    found = []
    for _, cell in frame.groupby([*PLACE, "what"], dropna=False):
        table = cell.pivot_table(index=[*METHOD, "rate_factor"], columns="seed", values="value")
        best = np.log(table).mean(axis=1).idxmin()
        first = cell.iloc[0]
        found += [
            Versus(
                cell=(name[1], first["dataset_label"], int(first["dim"]), first["network"]),
                against=best[1],
                what=first["what"],
                ratios=(table.loc[name] / table.loc[best]).to_numpy(float),
            )
            for name in table.index.drop(best)
        ]
    return found


def _to_target(tables: Tables, target: TargetTable) -> DataFrame:
    """Passes of each run of the quality lane to the target, if it gets there, as ``comparison.values``."""
    trials = tables.trials[
        (tables.trials["lane"] == "quality") & tables.trials["status"].isin(["ok", "timeout"])
    ]
    trials = trials.assign(rate_factor=trials["rate_factor"].astype(float).fillna(1.0))
    if target.dataset:
        names = trials["dataset"].astype(str), trials["dataset_label"].astype(str)
        trials = trials[(names[0] == target.dataset) | (names[1] == target.dataset)]
    rows = tables.curve[tables.curve["metric"] == target.metric]
    rows = rows[rows["trusted"].fillna(False).astype(bool)].drop_duplicates(["id", "step"])
    rows = trials.merge(rows[["id", "step", "value", "passes"]], on="id", suffixes=("_all", ""))
    value = rows["value"].astype(float) / (rows["dim"] if target.per_dim else 1)
    more = target.metric in HIGHER
    hit = rows[value >= target.value if more else value <= target.value]
    cost = hit.groupby("id")["passes"].min().rename("value")
    sign = "above" if more else "below"
    what = f"passes to {target.metric}{'/d' if target.per_dim else ''} {sign} {target.value:g}"
    found = trials.merge(cost.reset_index(), on="id").assign(what=what)
    return found[[*METHOD, *PLACE, *PAIR, "what", "value"]]


def stacked(found: Sequence[Versus]) -> Array:
    """Their ratios ``(comparisons, n)``, padded with NaN."""
    width = max((len(one.ratios) for one in found), default=0)
    table = np.full((len(found), width), np.nan)
    for row, one in zip(table, found, strict=True):
        row[: len(one.ratios)] = one.ratios
    return table
