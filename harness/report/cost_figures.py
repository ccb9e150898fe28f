"""Figures of cost: what a step costs as d grows, and how much of it is sampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.look import Look, cross, headroom, legend, log_axis, log_dims, panels

PANELS = {"seconds": "wall-clock per step", "passes": "passes per point and step (F)"}
FITTED = {"seconds": "wall-clock", "passes": "passes"}


def usable(cost: DataFrame, quantity: str) -> DataFrame:
    """Rows whose ``quantity`` may be compared: passes that are all of a method's work, trusted seconds."""
    rows = cost[cost[quantity].notna()]
    return rows[~rows["opposed"]] if quantity == "passes" else rows[rows["trusted"]]


def fits(cost: DataFrame) -> dict[str, dict[str, stats.Exponent]]:
    """Exponent of d by quantity and label."""
    return {
        quantity: {
            str(label): stats.scaling_exponent(rows["dim"].to_numpy(float), rows[quantity].to_numpy(float))
            for label, rows in usable(cost, quantity).groupby("label", observed=True)
        }
        for quantity in PANELS
    }


def summarised(rows: DataFrame, value: str, by: list[str], *, log: bool) -> DataFrame:
    """Mean (geometric where ``log``) and t interval by group: centre, lo, hi; no interval below 3 values."""
    y = np.log(rows[value]) if log else rows[value]
    table = y.groupby([rows[name] for name in by], observed=True).agg(["mean", "std", "count"]).reset_index()
    half = stats.half_width(table["std"].to_numpy(), table["count"].to_numpy())
    half = np.where(table["count"] >= stats.MIN_SEEDS, half, np.nan)
    back = np.exp if log else np.asarray
    ends = {"centre": table["mean"], "lo": table["mean"] - half, "hi": table["mean"] + half}
    return table.assign(**{name: back(end) for name, end in ends.items()})


def means(cost: DataFrame) -> DataFrame:
    """What ``step_cost`` draws: geometric mean and interval by quantity, label and d."""
    return pd.concat(
        [
            summarised(usable(cost, quantity), quantity, ["label", "dim"], log=True).assign(quantity=quantity)
            for quantity in PANELS
        ]
    )[["quantity", "label", "dim", "count", "centre", "lo", "hi"]]


def share_means(cost: DataFrame) -> DataFrame:
    """What ``sampling_share`` draws: the mean share and its interval by label, k and d."""
    rows = chains(cost)
    table = summarised(rows, "share", ["label", "dim"], log=False)
    k = rows.drop_duplicates("label").set_index("label")["k"]
    return table.assign(k=table["label"].map(k))[["label", "k", "dim", "count", "centre", "lo", "hi"]]


def by_label(rows: DataFrame) -> Iterator[tuple[str, DataFrame]]:
    """Label and rows, in the order of the labels."""
    for label, part in rows.groupby("label", observed=True):
        yield str(label), part


def step_cost(cost: DataFrame, look: Look, *, narrow: bool = False) -> Figure:
    """Cost per step against dimension, log-log: wall-clock and passes, exponents in the legend.

    Hollow, without line and exponent: timings that are not trusted, and passes beside which an opponent
    works. Crosses at the top: no run was ok.
    """
    shown = [quantity for quantity in PANELS if cost[quantity].notna().any()]
    figure, axes = panels(len(shown), narrow=narrow, height=3.0)
    for ax, quantity in zip(axes, shown, strict=True):
        _sweep(ax, cost, quantity, look)
        log_dims(ax, sorted(cost["dim"].unique()))
        ax.set_yscale("log")
        headroom(ax)
        log_axis(ax.yaxis, words.seconds if quantity == "seconds" else words.number)
        ax.set_ylabel(PANELS[quantity])
    fitted = fits(cost)
    known = [q for q in shown if not all(np.isnan(fit.value) for fit in fitted[q].values())]
    names = {label: label for label, _ in by_label(cost)}
    for label in names if known else ():
        texts = [words.exponent(fitted[q][label]) if label in fitted[q] else "–" for q in known]
        names[label] += ("\n" if narrow else "   ") + " | ".join(texts)
    title = f"exponent of d [95 % interval]: {' | '.join(FITTED[q] for q in known)}" if known else ""
    legend(figure, look.handles(names), narrow=narrow, title=title, wide=2 if known else 4)
    return figure


def _sweep(ax: Axes, cost: DataFrame, quantity: str, look: Look) -> None:
    for label, rows in by_label(summarised(usable(cost, quantity), quantity, ["label", "dim"], log=True)):
        bars = np.abs(rows[["lo", "hi"]].to_numpy().T - rows["centre"].to_numpy())
        x = rows["dim"] * look.dodge(label)
        ax.errorbar(x, rows["centre"], yerr=np.nan_to_num(bars), elinewidth=1, **look.line(label))
    doubtful = cost[cost[quantity].notna() & ~cost.index.isin(usable(cost, quantity).index)]
    for label, rows in by_label(doubtful):
        ax.plot(rows["dim"] * look.dodge(label), rows[quantity], **look.mark(label))
    missing = cost.groupby(["label", "dim"], observed=True)[quantity].count()
    for label, d in missing[missing == 0].index:
        cross(ax, d * look.dodge(label), look, label)


def sampling_share(cost: DataFrame, look: Look, *, narrow: bool = False) -> Figure:
    """Share of the training time spent in samplers, against k at the largest d and against d."""
    figure, (by_k, by_d) = panels(2, narrow=narrow)
    rows = chains(cost)
    largest = rows["dim"].max()
    at_k = rows[(rows["dim"] == largest) & rows["k"].notna()]
    for _, part in at_k.groupby("without_k"):
        mean = part.groupby("k")["share"].mean()
        by_k.plot(mean.index, mean, color=look.colour(str(part["label"].iloc[0])), linewidth=1.3)
    for label, part in by_label(at_k):
        by_k.plot(part["k"].iloc[:1] * look.dodge(label, 0.1), [part["share"].mean()], **look.line(label))
    for label, part in by_label(rows):
        mean = part.groupby("dim")["share"].mean()
        by_d.plot(mean.index * look.dodge(label), mean, **look.line(label))
    log_dims(by_d, sorted(rows["dim"].unique()))
    by_k.set_xscale("log")
    by_k.set_xticks(sorted(at_k["k"].unique()), [f"{k:g}" for k in sorted(at_k["k"].unique())], minor=False)
    by_k.minorticks_off()
    by_k.set(xlabel="transitions per step, k", title=f"d = {largest}")
    for ax in (by_k, by_d):
        ax.set_ylim(0, 1)
        ax.axhline(0.5, color="0.5", linewidth=0.8)
        ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
        ax.set_ylabel("share of training time in samplers")
    legend(figure, look.handles({label: label for label, _ in by_label(rows)}), narrow=narrow)
    return figure


def chains(cost: DataFrame) -> DataFrame:
    """Rows of the methods that run chains, with a share that may be compared, or all where none may."""
    rows = cost[cost["chain"] & cost["share"].notna()]
    return rows[rows["trusted"]] if rows["trusted"].any() else rows
