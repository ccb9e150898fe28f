"""Figures of quality: against work along the run, and the cost to reach a target as d grows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.cost_figures import by_label, summarised
from ebmark.report.frames import Study
from ebmark.report.grid import records
from ebmark.report.look import Look, cross, headroom, legend, log_axis, log_dims, panels
from ebmark.report.targets import GOAL

MAX_SETS = 6  # panels for more data sets than these are too small to read; the tables hold all
WIDEST = 100.0  # ratio of a band's ends beyond which it would hide the panel and says only: not known
WORK = {"passes": "passes (F)", "seconds_cost": "passes × measured seconds per pass"}
COST = {"passes": "passes to the target (F)", "seconds": "time to the target"}


def curves(study: Study) -> tuple[str, DataFrame]:
    """The metric of the anytime curves (fisher, else kl) and its trusted positive values per dimension.

    ``turn`` numbers the checkpoints of a run after its start. Of each set the smallest and the largest d.
    """
    rows = study.curve[study.curve["lane"] == "quality"]
    metric = next((name for name in ("fisher", "kl") if (rows["metric"] == name).any()), "fisher")
    rows = rows[(rows["metric"] == metric) & (rows["step"] > 0)].sort_values(["id", "step"])
    rows = rows.assign(turn=rows.groupby("id", observed=True).cumcount())
    rows = rows[rows["trusted"] & (rows["per_dim"] > 0)]
    dims = rows.groupby("dataset_label", observed=True)["dim"]
    return metric, rows[(rows["dim"] == dims.transform("min")) | (rows["dim"] == dims.transform("max"))]


def drawn(rows: DataFrame, by: list[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The groups with most dimensions, ``MAX_SETS`` of them at most, and those left to the tables.

    Against d (``by`` has the goal) a group with one dimension is left out where another has more.
    """
    sizes = rows.groupby(by, observed=True)["dim"].nunique().reset_index()
    sizes = sizes.sort_values(["dim", *by], ascending=[False, *(True for _ in by)])
    names = [tuple(row) for row in sizes[by].to_numpy().tolist()]
    wide = int((sizes["dim"] > 1).sum()) if "goal" in by else 0
    limit = min(MAX_SETS, wide or MAX_SETS)
    return names[:limit], names[limit:]


def anytime(rows: DataFrame, metric: str, work: str, look: Look, *, narrow: bool = False) -> Figure:
    """Quality per dimension against work, both logarithmic; bands over seeds.

    The band is Student's 95 % interval on the log scale with 3 seeds or more, the range with 2; where colours
    are families it would hide the lines of others and is left out. A cross ends a run that failed. ``rows``
    as from ``curves``; cells without a cost of a step have no panel of time.
    """
    rows = rows[rows[work].notna()]
    sets = [name for (name,) in drawn(rows, ["dataset_label"])[0]]
    cells = [
        (name, d) for name in sets for d in sorted(rows.loc[rows["dataset_label"] == name, "dim"].unique())
    ]
    figure, axes = panels(len(cells), narrow=narrow)
    means = band_means(rows, work)
    failed = rows[rows["status"] != "ok"].drop_duplicates("id", keep="last")
    for ax, (dataset, d) in zip(axes, cells, strict=True):
        here, ends = (at[(at["dataset_label"] == dataset) & (at["dim"] == d)] for at in (means, failed))
        for label, mean in by_label(here):
            _band(ax, mean, ends[ends["label"] == label], work, look, label)
        ax.set(xscale="log", yscale="log")
        log_axis(ax.xaxis, words.seconds if work == "seconds_cost" else words.number)
        ax.set(title=f"{dataset}, d = {d}", xlabel=WORK[work], ylabel=words.named(metric, per_dim=True))
    for name in sets:  # one scale per data set, so that its dimensions compare
        own = [ax for ax, (dataset, _) in zip(axes, cells, strict=True) if dataset == name]
        centres = means.loc[means["dataset_label"] == name, "centre"]  # a band over few seeds may be endless
        for ax in own:
            ax.set_ylim(centres.min() / 2, centres.max() * 2)
            log_axis(ax.yaxis)
    legend(figure, look.handles({label: label for label, _ in by_label(rows)}), narrow=narrow)
    return figure


def band_means(rows: DataFrame, work: str) -> DataFrame:
    """What ``anytime`` draws: ``cost``, ``centre``, ``lo`` and ``hi`` by data set, d, label and ``turn``."""
    keys = ["dataset_label", "dim", "label", "turn"]
    mean = summarised(rows, "per_dim", keys, log=True)
    by = [rows[name] for name in keys]
    ends = rows["per_dim"].groupby(by, observed=True).agg(["min", "max"])
    cost = np.exp(np.log(rows[work]).groupby(by, observed=True).mean())
    few = (mean["count"] < stats.MIN_SEEDS).to_numpy()
    return mean[[*keys, "count", "centre"]].assign(
        cost=cost.to_numpy(),
        lo=np.where(few, ends["min"], mean["lo"]),
        hi=np.where(few, ends["max"], mean["hi"]),
    )


def _band(ax: Axes, mean: DataFrame, ends: DataFrame, work: str, look: Look, label: str) -> None:
    ax.plot(mean["cost"], mean["centre"], **look.line(label, markersize=3.5))
    told = (mean["hi"] <= WIDEST * mean["lo"]).to_numpy()
    if not look.by_family:
        ax.fill_between(
            mean["cost"], mean["lo"], mean["hi"], told, color=look.colour(label), alpha=0.13, linewidth=0
        )
    ax.plot(ends[work], ends["per_dim"], "x", color=look.colour(label), markersize=6, mew=1.6)


def target_cost(reaching: DataFrame, expected: DataFrame, look: Look, *, narrow: bool = False) -> Figure:
    """Expected cost to reach the target against d, in passes and in time; crosses: not reached.

    Args:
        reaching: one row per run, from ``targets.runs``.
        expected: one row per cell, from ``targets.expected``.
        look: the styles.
        narrow: one panel in a row.
    """
    views = _views(expected)
    figure, axes = panels(len(views), narrow=narrow)
    for ax, (goal, dataset, quantity) in zip(axes, views, strict=True):
        cells = expected[(expected["goal"] == goal) & (expected["dataset_label"] == dataset)]
        single = reaching[(reaching["goal"] == goal) & (reaching["dataset_label"] == dataset)]
        _target(ax, cells, single, quantity, look)
        ax.set(title=f"{dataset}\n{goal}", ylabel=COST[quantity])
        log_dims(ax, sorted(cells["dim"].unique()))
    legend(figure, look.handles({label: label for label, _ in by_label(expected)}), narrow=narrow)
    return figure


def _views(expected: DataFrame) -> list[tuple[str, str, str]]:
    """Panels: goal, data set and quantity, where that is known."""
    known = {
        (row["goal"], row["dataset_label"], quantity)
        for row in records(expected)
        for quantity in COST
        if not np.isnan(row[quantity])
    }
    views = [(goal, dataset, quantity) for goal, dataset in drawn(expected, GOAL)[0] for quantity in COST]
    return [view for view in views if view in known]


def _target(ax: Axes, cells: DataFrame, single: DataFrame, quantity: str, look: Look) -> None:
    for label, rows in by_label(cells):
        shown = rows[np.isfinite(rows[quantity]) & (rows[quantity] > 0)]  # 0: met before any training
        ax.plot(shown["dim"] * look.dodge(label), shown[quantity], **look.line(label))
        few = rows.loc[rows["runs"] < stats.MIN_SEEDS, "dim"]
        alone = single[(single["label"] == label) & single["dim"].isin(few) & single["reached"]]
        paid = alone[alone[f"cost_{quantity}"] > 0]
        ax.plot(paid["dim"] * look.dodge(label), paid[f"cost_{quantity}"], **look.mark(label))
        missed = rows[np.isinf(rows[quantity]) & ~rows["dim"].isin(alone["dim"])]
        for d in missed["dim"]:
            cross(ax, d * look.dodge(label), look, label)
    ax.margins(y=0.12)
    ax.set_yscale("log")
    headroom(ax)
    log_axis(ax.yaxis, words.seconds if quantity == "seconds" else words.number)
