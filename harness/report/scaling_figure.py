"""The headline: what a fixed quality costs as d grows, a panel per target and data set, lines named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report import words
from ebmark.report.beside import LINE, TYPE, Name, beside
from ebmark.report.cost_figures import by_label
from ebmark.report.grid import records
from ebmark.report.look import Look, cross, log_axis, log_dims
from ebmark.report.scaling import BEST, CD, best_cd, leader
from ebmark.report.targets import GOAL

AXIS = {"seconds": "time to the target", "passes": "passes to the target (F)"}
LEFT, TOP, BOTTOM = 0.75, 0.5, 0.75  # inches around a panel


def draw(
    rows: DataFrame,
    fits: DataFrame,
    names: Sequence[tuple[str, str]],
    quantity: str,
    look: Look,
    *,
    narrow: bool = False,
) -> Figure:
    """Cost against d on logarithmic axes; failures are crosses at the top, where CD is cheapest is shaded.

    Args:
        rows: from ``scaling.comparable``.
        fits: from ``scaling.growth``.
        names: the panels, from ``scaling.panels``.
        quantity: seconds or passes.
        look: the styles.
        narrow: one panel in a row.
    """
    columns = 1 if narrow or len(names) == 1 else 2
    drawn = rows[(rows["method"] != CD) & np.isfinite(rows["cost"])]
    pairs = zip(drawn["goal"], drawn["dataset_label"], strict=True)
    drawn = drawn[np.array([pair in names for pair in pairs], dtype=bool)]
    most = int(drawn.groupby(GOAL)["label"].nunique().max()) + 1 if len(drawn) else 1
    power = "  d^-0.00" * any(words.power(fit) for fit in fits["fit"])
    written = (f"{label}{power}" for label in (*drawn["label"].unique(), f"{BEST} of 15 "))
    room = 0.062 * max(map(len, written)) + 0.1
    width = (4.2 if narrow else 9.6) / columns - LEFT - room
    place = _Place(
        columns=columns,
        down=-(-len(names) // columns),
        width=max(2.15, min(4.5, width)),
        height=max(2.2, LINE * most),
        names=room,
    )
    figure = Figure(figsize=place.size)
    for i, (goal, dataset) in enumerate(names):
        part = rows[(rows["goal"] == goal) & (rows["dataset_label"] == dataset)]
        fit = fits[(fits["goal"] == goal) & (fits["dataset_label"] == dataset)].set_index("label")["fit"]
        ax = figure.add_axes(place.box(i))
        ax.set_title(f"{dataset}\n{goal}")
        ends = _panel(ax, part, {str(label): words.power(one) for label, one in fit.items()}, look)
        ax.set_ylabel(AXIS[quantity])
        log_axis(ax.yaxis, words.seconds if quantity == "seconds" else words.number)
        beside(ax, ends, place.height)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the panels are, in inches: a layout engine does not see how wide the names are."""

    columns: int
    down: int
    width: float
    height: float
    names: float

    @property
    def size(self) -> tuple[float, float]:
        return self.columns * (LEFT + self.width + self.names), self.down * (TOP + self.height + BOTTOM)

    def box(self, i: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of panel ``i``, as shares of the figure."""
        row, column = divmod(i, self.columns)
        w, h = self.size
        x = column * (LEFT + self.width + self.names) + LEFT
        y = (row + 1) * (TOP + self.height) + row * BOTTOM
        return x / w, 1 - y / h, self.width / w, self.height / h


def _panel(ax: Axes, part: DataFrame, powers: dict[str, str], look: Look) -> list[Name]:
    """Lines, crosses and shades; the names of the lines, to be set beside them once the axes stand."""
    dims = sorted(part["dim"].unique())
    best, named, never = best_cd(part), [], []
    for label, own in by_label(part):
        shown = own[np.isfinite(own["cost"])].sort_values("dim")
        thin = own["method"].iloc[0] == CD and len(best) > 0
        style = {"linewidth": 0.8, "alpha": 0.55, "markersize": 0} if thin else {"markersize": 4}
        ax.plot(shown["dim"], shown["cost"], **look.line(label, **style))
        if thin:
            continue
        if shown.empty:
            never.append(label)
            continue
        for d in own.loc[np.isinf(own["cost"]), "dim"]:
            cross(ax, d * look.dodge(label), look, label)
        text = f"{label}  {powers.get(label, '')}".rstrip()
        end = records(shown.tail(1))[0]
        named.append(
            Name(x=end["dim"], y=end["cost"], text=text, colour=look.colour(label), marker=look.marker(label))
        )
    if len(best):
        named += _best(ax, best, powers.get(BEST, ""), look)
    log_dims(ax, dims)
    ax.set_yscale("log")
    ax.margins(y=0.14)
    _shade(ax, part, look)
    if never:
        ax.set_xlabel(f"dimension d\nnot reached: {_wrapped(never)}")
    return named


def _best(ax: Axes, best: DataFrame, power: str, look: Look) -> list[Name]:
    """The line of CD's best setting, thick, with its k where that changes; its name."""
    first = best["setting"].iloc[0]
    colour = look.colour(first)
    shown = best[np.isfinite(best["cost"])].sort_values("dim")
    ax.plot(shown["dim"], shown["cost"], color=colour, linewidth=2.6, marker="o", markersize=5, zorder=3)
    for row in records(shown[shown["k"].ne(shown["k"].shift())]):
        ax.annotate(
            f"k={row['k']:g}",
            (row["dim"], 0.02),
            xycoords=ax.get_xaxis_transform(),
            ha="center",
            fontsize=TYPE - 1,
        )
    for d in best.loc[np.isinf(best["cost"]), "dim"]:
        cross(ax, d, look, first)
    if shown.empty:
        return []
    text = f"{BEST} of {best['settings'].max()}  {power}".rstrip()
    end = shown.iloc[-1]
    return [Name(x=end["dim"], y=end["cost"], text=text, colour=colour, bold=True)]


def _shade(ax: Axes, part: DataFrame, look: Look) -> None:
    """The range of d, to half-way between the sizes, where CD's best is the cheapest of all."""
    cells = leader(part)
    if len(cells) < 2:
        return
    d = np.log(cells["dim"].to_numpy(float))
    middle = (d[1:] + d[:-1]) / 2
    edges = np.exp(np.concatenate([[d[0] - 0.3], middle, [d[-1] + 0.3]]))
    ax.set_xlim(edges[0], edges[-1])
    colour = look.colour(str(part.loc[part["method"] == CD, "label"].iloc[0]))
    for i, row in enumerate(records(cells)):
        if row["cost_cd"] < row["cost"]:
            ax.axvspan(edges[i], edges[i + 1], color=colour, alpha=0.09, linewidth=0, zorder=0)


def _wrapped(labels: list[str]) -> str:
    """Labels in lines of at most 45 letters."""
    lines = [""]
    for label in labels:
        if len(lines[-1]) + len(label) > 45:
            lines.append("")
        lines[-1] += f"{label}, "
    return "\n".join(lines).rstrip(", ")
