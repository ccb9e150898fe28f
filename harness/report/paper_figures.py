"""Figures for print: the cost of a step, the quality reached, and the cost to a target, against d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report import scaling, targets
from ebmark.report.cost_figures import PANELS, by_label, summarised, usable
from ebmark.report.frames import Study, finals
from ebmark.report.look import Look, cross
from ebmark.report.paper_look import CROSS, finish, legend, panels, style
from ebmark.report.paper_parts import about
from ebmark.report.scaling import BEST
from ebmark.report.targets import GOAL


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """A figure for print: its file's name, its caption, and ``draw(width)`` in inches."""

    name: str
    caption: str
    draw: Callable[[float], Figure]


def every(study: Study, look: Look) -> list[PaperFigure]:
    """All figures that the study has numbers for."""
    found = [step_cost(study, look), quality(study, look), target_cost(study, look)]
    return [figure for figure in found if figure is not None]


def step_cost(study: Study, look: Look) -> PaperFigure | None:
    """Cost of a step against d, in time and in passes."""
    shown = [quantity for quantity in PANELS if len(usable(study.cost, quantity))]
    if study.cost["dim"].nunique() < 2 or not shown:
        return None
    where = f"{study.cost['dataset_label'].iloc[0]}, network {study.cost['network'].iloc[0]}"
    caption = (
        f"Cost of a training step against the dimension d on {where}: geometric means with 95 % intervals "
        "(Student's t). Marks are moved apart sideways; a cross at the top: no run ended there. F: forwards "
        f"of the network per point. {about(study)}"
    )
    return PaperFigure(name="step_cost", caption=caption, draw=partial(_steps, study.cost, shown, look))


def _steps(cost: DataFrame, shown: Sequence[str], look: Look, width: float) -> Figure:
    figure, axes = panels(len(shown), width)
    for ax, quantity in zip(axes, shown, strict=True):
        rows = usable(cost, quantity)
        _lines(ax, summarised(rows, quantity, ["label", "dim"], log=True), look)
        ended = cost.groupby(["label", "dim"], observed=True)[quantity].count()
        for label, d in ended[ended == 0].index:
            cross(ax, d * look.dodge(label), look, label, size=CROSS)
        finish(ax, sorted(cost["dim"].unique()), "time" if quantity == "seconds" else "number")
        ax.set_ylabel("time per step" if quantity == "seconds" else "passes per point (F)")
    legend(figure, look, {label: label for label, _ in by_label(cost)}, width)
    return figure


def quality(study: Study, look: Look) -> PaperFigure | None:
    """The Fisher divergence reached against d, a panel per data set."""
    rows = finals(study, "fisher")
    rows = rows[rows["trusted"] & (rows["per_dim"] > 0)]
    sizes = rows.groupby("dataset_label")["dim"].nunique().sort_values(ascending=False, kind="stable")
    names = [str(name) for name in sizes.index[sizes >= 2]][:4]
    if not names:
        return None
    caption = (
        "Fisher divergence per dimension at the end of training against the dimension d: geometric means "
        f"with 95 % intervals over seeds (Student's t, from 3 seeds on). {about(study)}"
    )
    return PaperFigure(name="quality", caption=caption, draw=partial(_quality, rows, names, look))


def _quality(rows: DataFrame, names: Sequence[str], look: Look, width: float) -> Figure:
    figure, axes = panels(len(names), width)
    for ax, name in zip(axes, names, strict=True):
        part = rows[rows["dataset_label"] == name]
        _lines(ax, summarised(part, "per_dim", ["label", "dim"], log=True), look)
        finish(ax, sorted(part["dim"].unique()), "number")
        ax.set_title(name)
        ax.set_ylabel("Fisher divergence / d")
    shown = rows[rows["dataset_label"].isin(names)]
    legend(figure, look, {label: label for label, _ in by_label(shown)}, width)
    return figure


def target_cost(study: Study, look: Look) -> PaperFigure | None:
    """The cost to a fixed quality against d, a panel per target; of CD's settings the best at each d."""
    runs = targets.runs(study)
    expected = targets.expected(runs) if len(runs) else DataFrame()
    if expected.empty:
        return None
    quantity = scaling.quantity(expected)
    rows = scaling.comparable(expected, quantity)
    names = scaling.panels(rows, 4)
    if not names:
        return None
    best = scaling.best_cd(rows)
    several = (
        f" {BEST}: the cheapest of {int(best['settings'].max())} settings at each d, chosen in "
        if len(best)
        else ""
    )
    caption = (
        f"Expected cost in {'seconds' if quantity == 'seconds' else 'passes (F)'} to reach a fixed quality "
        f"against the dimension d ({targets.listed(names)}), the cost of all runs over the number that "
        f"reached it. A cross at the top: too few did.{several and several + 'hindsight.'} {about(study)}"
    )
    draw = partial(_targets, rows, best, names, quantity, look)
    return PaperFigure(name="target_cost", caption=caption, draw=draw)


def _targets(
    rows: DataFrame,
    best: DataFrame,
    names: Sequence[tuple[str, str]],
    quantity: str,
    look: Look,
    width: float,
) -> Figure:
    figure, axes = panels(len(names), width)
    drawn: dict[str, str] = {}
    for ax, place in zip(axes, names, strict=True):
        part = rows[(rows[GOAL] == list(place)).all(axis=1)]
        if len(best):
            part = part[part["method"] != scaling.CD]
            mine = best[(best[GOAL] == list(place)).all(axis=1)].sort_values("dim")
            _cost_line(ax, mine, str(best["setting"].iloc[0]), look, linewidth=2.2)
            drawn[str(best["setting"].iloc[0])] = BEST
        for label, own in by_label(part):
            _cost_line(ax, own.sort_values("dim"), label, look)
            drawn.setdefault(label, label)
        finish(
            ax,
            sorted(rows.loc[(rows[GOAL] == list(place)).all(axis=1), "dim"].unique()),
            "time" if quantity == "seconds" else "number",
        )
        ax.set_title(f"{place[1]}\n{place[0]}")
        ax.set_ylabel("time to the target" if quantity == "seconds" else "passes to the target (F)")
    legend(figure, look, drawn, width)
    return figure


def _cost_line(ax: Axes, own: DataFrame, label: str, look: Look, **more: Any) -> None:
    ended = own[np.isfinite(own["cost"])]
    ax.plot(ended["dim"], ended["cost"], **style(look, label, **more))
    for d in own.loc[np.isinf(own["cost"]), "dim"]:
        cross(ax, d * look.dodge(label), look, label, size=CROSS)


def _lines(ax: Axes, table: DataFrame, look: Look) -> None:
    """Centres with their intervals, a line per label."""
    for label, rows in by_label(table):
        bars = np.abs(rows[["lo", "hi"]].to_numpy().T - rows["centre"].to_numpy())
        x = rows["dim"] * look.dodge(label)
        ax.errorbar(x, rows["centre"], yerr=np.nan_to_num(bars), elinewidth=0.7, **style(look, label))
