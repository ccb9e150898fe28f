"""The cost to a fixed quality as d grows: contrastive divergence at its best against what does not sample.

Rows are those of ``targets.expected``: one per target, data set, label and dimension. The best setting of CD
is chosen at each dimension after the fact, from all that the study ran: this favours CD, and is said.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark import stats
from ebmark.report.grid import records
from ebmark.report.names import natural
from ebmark.report.targets import GOAL

CD = "cd"
BEST = "cd, best"
CELL = [*GOAL, "dim"]


def quantity(expected: DataFrame) -> str:
    """What costs are compared in: seconds where any is known, else passes."""
    return "seconds" if expected["seconds"].notna().any() else "passes"


def comparable(expected: DataFrame, quantity: str) -> DataFrame:
    """Rows with ``cost``, the expected cost, that may be compared: no oracle, none who starts at the truth.

    In passes none whose opponent's work they leave out. A cost of 0 is a target that needs no training.
    """
    rows = expected[~expected["oracle"] & ~expected["own_noise"] & expected[quantity].notna()]
    rows = rows[(rows["runs"] >= stats.MIN_SEEDS) & (rows[quantity] > 0)]
    rows = rows.assign(cost=rows[quantity], spent=rows[f"spent_{quantity}"])
    return rows[~rows["opposed"]] if quantity == "passes" else rows


def best_cd(rows: DataFrame) -> DataFrame:
    """The cheapest setting of CD in each cell, as ``of``, labelled ``BEST``; empty with fewer than two.

    ``settings`` says of how many. Where none reaches the target the cost is infinite, ``of`` is empty, and
    ``setting`` the one that spent least in vain.
    """
    cd = rows[rows["method"] == CD]
    if cd["label"].nunique() < 2:
        return cd.iloc[:0].assign(of="", setting="", settings=0)
    cd = cd.sort_values([*CELL, "cost", "spent"], kind="stable")
    settings = cd.groupby(CELL)["label"].transform("nunique")
    best = cd.assign(setting=cd["label"].astype(str), settings=settings).drop_duplicates(CELL)
    return best.assign(label=BEST, of=best["setting"].where(np.isfinite(best["cost"]), ""))


def free(rows: DataFrame) -> DataFrame:
    """The rows of the methods that run no chains."""
    return rows[~rows["chain"]]


def growth(runs: DataFrame, rows: DataFrame, quantity: str) -> DataFrame:
    """Growth with d of the cost to each target: goal, data set, label and the ``fit``.

    By the runs behind ``rows``; one that did not reach the target counts as having cost more than it spent.
    Of CD's best the runs are those of the setting that is best at each d.

    Args:
        runs: one row per run, from ``targets.runs``.
        rows: from ``comparable``.
        quantity: seconds or passes.
    """
    own = runs.assign(label=runs["label"].astype(str), cost=runs[f"cost_{quantity}"])
    own = own.loc[own["cost"].notna(), [*CELL, "label", "cost", "reached"]]
    lines = rows[[*CELL, "label"]].assign(label=rows["label"].astype(str), of=rows["label"].astype(str))
    best = best_cd(rows)
    lines = pd.concat([lines, best[[*CELL, "label"]].assign(of=best["setting"])])
    behind = lines.merge(own.rename(columns={"label": "of"}), on=[*CELL, "of"])
    fits = [
        (*key, stats.tobit_exponent(d, cost, ~reached))
        for key, part in behind.groupby([*GOAL, "label"])
        for d, cost, reached in [(part[name].to_numpy() for name in ("dim", "cost", "reached"))]
    ]
    return DataFrame(fits, columns=[*GOAL, "label", "fit"])


def versus(rows: DataFrame) -> DataFrame:
    """CD's best against each method without chains: one row per target, data set and method.

    ``first`` and ``last`` are the ratios of the costs, CD over the other, at the smallest and the largest d
    that both reach (``d_first``, ``d_last``); ``cd_only`` and ``other_only`` count the dimensions that one
    alone reaches, ``neither`` those that none does; ``meet`` is the crossover, or None.
    """
    best, found = best_cd(rows), []
    for key, part in free(rows).groupby([*GOAL, "label"], observed=True):
        mine = best[(best[GOAL] == list(key[:2])).all(axis=1)]
        both = mine.merge(part, on="dim", suffixes=("_cd", "")).sort_values("dim")
        d, a, b = (both[name].to_numpy(float) for name in ("dim", "cost_cd", "cost"))
        ok = np.isfinite(a) & np.isfinite(b)
        ratio, dims = (a[ok] / b[ok]).tolist(), d[ok].astype(int).tolist()
        ends = {"first": ratio[0], "last": ratio[-1], "d_first": dims[0], "d_last": dims[-1]} if ratio else {}
        found.append(
            dict(zip([*GOAL, "label"], key, strict=True))
            | {"first": np.nan, "last": np.nan, "d_first": 0, "d_last": 0}
            | ends
            | {"cd_only": int((np.isfinite(a) & ~np.isfinite(b)).sum())}
            | {"other_only": int((~np.isfinite(a) & np.isfinite(b)).sum())}
            | {"neither": int((~np.isfinite(a) & ~np.isfinite(b)).sum())}
            | {"meet": stats.crossover(d[ok], a[ok], b[ok]) if ok.any() else None}
        )
    return DataFrame(found)


def leader(rows: DataFrame) -> DataFrame:
    """One row per cell: CD's best ``cost_cd``, and the cheapest ``cost`` without chains, its ``label``."""
    best = best_cd(rows)[[*CELL, "cost", "of", "settings"]].rename(columns={"cost": "cost_cd"})
    rest = free(rows).sort_values([*CELL, "cost"], kind="stable").drop_duplicates(CELL)
    return best.merge(rest[[*CELL, "cost", "label"]], on=CELL).sort_values(CELL, ignore_index=True)


def panels(rows: DataFrame, most: int) -> list[tuple[str, str]]:
    """The targets and data sets to draw: with three dimensions, one of each kind of data before a second."""
    sizes = rows.groupby(GOAL)["dim"].nunique()
    names = [tuple(row.values()) for row in records(sizes[sizes >= 3].reset_index()[GOAL])]
    turn: dict[str, int] = {}
    order = []
    for goal, dataset in sorted(names, key=lambda name: (natural(name[1]), name[0])):
        kind = dataset.split("[")[0]
        turn[kind] = turn.get(kind, 0) + 1
        order.append((turn[kind], goal, dataset))
    return [(goal, dataset) for _, goal, dataset in sorted(order, key=lambda one: one[0])[:most]]
