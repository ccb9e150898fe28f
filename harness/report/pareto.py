"""Quality against cost: which method is best at each cost, and where another takes over."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark import stats
from ebmark.report import targets, words
from ebmark.report.cost_figures import by_label, summarised
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, cells, records
from ebmark.report.look import Look, Picture, legend, log_axis, panels
from ebmark.report.quality_figures import WORK, curves, drawn
from ebmark.report.section import Section

PLACE = ["dataset_label", "dim"]
TITLE = "Quality against cost"
SHARES = (0.01, 0.1, 1.0)  # of the largest cost


def section(study: Study, look: Look) -> Section:
    """The front of every data set at its smallest and largest d, as a figure and a table."""
    metric, work, table = _measured(study)
    if table.empty:
        none = "No quality was measured along runs of which every seed is ok: there is no front to show."
        return Section(anchor="pareto", title=TITLE, text=[none])
    if study.seeds[0] < stats.MIN_SEEDS:  # marks only: two runs make no front
        table = table.assign(front=False)
        text = [
            f"With {words.counted(study.seeds[0], 'seed')} per cell nobody is called best: there is no front."
        ]
    else:
        text = []
    return Section(
        anchor="pareto",
        title=TITLE,
        text=text,
        pictures=[_picture(table, metric, work, look)],
        grids=[grid for grid in (front_table(table, work),) if grid.rows],
    )


def _measured(study: Study) -> tuple[str, str, DataFrame]:
    """The metric, what cost is counted in, and the points."""
    metric, rows = curves(study)
    work = "seconds_cost" if rows["seconds_cost"].notna().any() else "passes"
    return metric, work, points(rows[rows[work].notna()], study.quality, work)


def answer(study: Study) -> str:
    """Who reaches the best quality where no target is set: in how many cells, and one of them in numbers."""
    metric, _, table = _measured(study)
    last = table[table["front"]].drop_duplicates(PLACE, keep="last")
    if last.empty or study.seeds[0] < stats.MIN_SEEDS:
        if study.spec.get("target"):
            return "No run has a value of the target's metric, so what it costs to reach it is not stated."
        return "The study sets no target quality, so what it costs to reach one is not stated."
    wins = last["label"].astype(str).value_counts()
    most = sorted(wins.index[wins == wins.max()])[0]
    one = records(last[last["label"] == most].sort_values(["dim", "dataset_label"]).tail(1))[0]
    name = words.named(metric, per_dim=True)
    cells_ = words.counted(len(last), "cell")
    value, lo, hi = (words.number(one[end]) for end in ("centre", "lo", "hi"))
    return (
        f"No target is set; the smallest mean of {name} is that of {most} in {wins.max()} of {cells_} "
        "(data set and d), whether or not it can be told from the next, such as "
        f"{value} [{lo}, {hi}] on {one['dataset_label']} at d = {one['dim']}."
    )


def _picture(table: DataFrame, metric: str, work: str, look: Look) -> Picture:
    name = words.named(metric, per_dim=True)
    last = records(table[table["front"]].drop_duplicates(PLACE, keep="last"))
    best = "; ".join(f"{row['label']} at {row['dataset_label']}, d = {row['dim']}" for row in last)
    front = "Steps: the front, the best quality seen for no more than that cost. " * bool(last)
    left = f"who starts at the truth (‡){' and who has an opponent' * (work == 'passes')}"
    return Picture(
        name="pareto",
        alt=f"{name} against {WORK[work]} for every method and checkpoint, per data set at the smallest and "
        f"the largest d.{f' Best at the largest cost: {best}.' * bool(last)}",
        caption=f"Every mark is a checkpoint of a method: geometric means over seeds of {name} and of what "
        f"had been spent. {front}Left out: methods with a failed run there, the oracle, {left}. "
        f"{targets.TIME * (work != 'passes')}{look.key}",
        draw=partial(draw, table, metric, work, look),
        data=table,
    )


def points(rows: DataFrame, trials: DataFrame, work: str) -> DataFrame:
    """One row per data set, d, method and checkpoint: mean cost and quality, and whether on the front.

    Only methods of which every run that was started is ok, without oracle and own noise.

    Args:
        rows: from ``quality_figures.curves``, with a known cost.
        trials: those of the quality lane.
        work: ``passes`` or ``seconds_cost``.
    """
    started = trials[~trials["status"].isin(["skipped", "cancelled"])]
    runs = started.groupby([*PLACE, "label"], observed=True)["status"].agg(
        runs="size", ok=lambda status: int((status == "ok").sum())
    )
    rows = rows[~rows["oracle"] & ~rows["own_noise"]]
    rows = rows[~rows["opposed"]] if work == "passes" else rows
    keys = [*PLACE, "label", "turn"]
    quality = summarised(rows, "per_dim", keys, log=True)
    cost = np.exp(np.log(rows[work]).groupby([rows[key] for key in keys], observed=True).mean())
    table = quality.merge(cost.rename("cost").reset_index(), on=keys).merge(
        runs.reset_index(), on=[*PLACE, "label"]
    )
    table = table[(table["ok"] == table["runs"]) & (table["count"] == table["runs"]) & (table["cost"] > 0)]
    table = table.sort_values([*PLACE, "cost", "centre"], ignore_index=True)
    before = table.groupby(PLACE, observed=True)["centre"].transform(
        lambda values: values.cummin().shift(fill_value=np.inf)
    )
    return table.assign(front=table["centre"] < before)[
        [*PLACE, "label", "turn", "runs", "cost", "centre", "lo", "hi", "front"]
    ]


def draw(table: DataFrame, metric: str, work: str, look: Look, *, narrow: bool = False) -> Figure:
    """Quality against cost, both logarithmic, a panel per data set and d, the front in black."""
    names = [name for (name,) in drawn(table, ["dataset_label"])[0]]
    places = [
        (name, d) for name in names for d in sorted(table.loc[table["dataset_label"] == name, "dim"].unique())
    ]
    figure, axes = panels(len(places), narrow=narrow)
    for ax, (dataset, d) in zip(axes, places, strict=True):
        part = table[(table["dataset_label"] == dataset) & (table["dim"] == d)]
        for label, marks in by_label(part):
            ax.plot(marks["cost"], marks["centre"], **look.mark(label, markersize=3.5, alpha=0.8))
        front = part[part["front"]]
        x, y = [*front["cost"], part["cost"].max()], [*front["centre"], *front["centre"].tail(1)]
        if len(front):
            ax.step(x, y, where="post", color="black", linewidth=1.2, zorder=1)
        for label, marks in by_label(front):
            ax.plot(marks["cost"], marks["centre"], **look.mark(label, fillstyle="full", markersize=6))
        ax.set(xscale="log", yscale="log", title=f"{dataset}, d = {d}")
        ax.set(xlabel=WORK[work], ylabel=words.named(metric, per_dim=True))
        log_axis(ax.xaxis, words.seconds if work == "seconds_cost" else words.number)
        log_axis(ax.yaxis)
    legend(figure, look.handles({label: label for label, _ in by_label(table)}), narrow=narrow)
    return figure


def front_table(table: DataFrame, work: str) -> Grid:
    """Who is best at a hundredth, a tenth and all of the largest cost of each data set and d."""
    front = table[table["front"]].merge(
        table.groupby(PLACE, observed=True)["cost"].max().rename("whole").reset_index(), on=PLACE
    )
    found = [
        front[front["cost"] <= share * front["whole"]].drop_duplicates(PLACE, keep="last").assign(share=share)
        for share in SHARES
    ]
    tidy = pd.concat(found)[[*PLACE, "share", "whole", "label", "cost", "centre", "lo", "hi"]]
    body = {(row["dataset_label"], row["dim"], row["share"]): _best(row) for row in records(tidy)}
    text = words.seconds if work == "seconds_cost" else (lambda x: f"{words.number(x)} F")
    rows = [
        cells(
            f"{row['dataset_label']}, d = {row['dim']}",
            *(body.get((row["dataset_label"], row["dim"], share), "–") for share in SHARES),
            text(row["whole"]),
        )
        for row in records(front.drop_duplicates(PLACE))
    ]
    return Grid(
        name="front",
        title="The best for the money",
        caption="The best quality seen for no more than a hundredth, a tenth and all of the largest cost, by "
        "whom: geometric mean with Student's 95 % interval (none below 3 seeds). Neighbours on the front may "
        "be indistinguishable: the tables of quality say which differ. –: no checkpoint that early.",
        head=["data", *(f"at {words.percent(share)} of the cost" for share in SHARES), "the whole cost"],
        rows=rows,
        tidy=tidy,
    )


def _best(row: dict[str, Any]) -> str:
    ends = "" if np.isnan(row["lo"]) else f" [{words.number(row['lo'])}, {words.number(row['hi'])}]"
    return f"{row['label']}: {words.number(row['centre'])}{ends}"
