"""Figures of samples: densities in the plane beside the truth, and sample quality beside its noise floor."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ebmark.report.cost_figures import by_label
from ebmark.report.frames import Study
from ebmark.report.look import MARKERS, Look, legend, log_axis, panels
from ebmark.report.words import HIGHER, named, number

# In the order of the panels; a metric from elsewhere that has a floor follows, if less of it is better.
SAMPLED = (
    *("energy_distance", "mmd", "sliced_wasserstein", "c2st", "coverage", "precision"),
    *("mode_weights", "mode_smallest", "mode_largest"),
)
SAMPLER = "ksd"  # says of the sampler whether it arrived, not of the model
DISTANCES = (
    "energy_distance",
    "mmd",
    "sliced_wasserstein",
    "mode_weights",
)  # from 0 on: a ratio says something
SCALES = {"ratio": "ratio to the floor", "excess": "worse than the floor, in its sd"}


def floors(study: Study) -> DataFrame:
    """Final sample metrics against their noise floor, the metric between independent true samples.

    ``over`` is the ratio to the floor's mean of a distance whose floor is everywhere more than two of its
    standard deviations; else how much worse the value is than the floor, in its standard deviations, also
    where more is better. ``scale`` says which.
    """
    rows = study.final
    rows = rows[rows["floor_mean"].notna() & (rows["metric"] != SAMPLER)].drop_duplicates(["id", "metric"])
    zero = (
        (rows["floor_mean"] <= 2 * rows["floor_sd"].fillna(0))
        .groupby(rows["metric"], observed=True)
        .transform("any")
    )
    signed = ~rows["metric"].isin(DISTANCES) | zero
    sign = np.where(rows["metric"].isin(HIGHER), -1, 1)
    ratio = rows["value"] / rows["floor_mean"]
    excess = sign * (rows["value"] - rows["floor_mean"]) / rows["floor_sd"].where(rows["floor_sd"] > 0)
    rows = rows.assign(over=ratio.where(~signed, excess), scale=np.where(signed, "excess", "ratio"))
    return rows[rows["over"].notna()].reset_index(drop=True)


def floor_means(rows: DataFrame) -> DataFrame:
    """What ``beside_floor`` draws: the mean over seeds by metric, label, data set and d."""
    groups = rows.groupby(["metric", "scale", "label", "dataset_label", "dim"], observed=True)
    return groups.agg(
        over=("over", "mean"),
        value=("value", "mean"),
        floor=("floor_mean", "mean"),
        trusted=("trusted", "all"),
    ).reset_index()


def beside_floor(rows: DataFrame, look: Look, *, narrow: bool = False) -> Figure:
    """Sample metrics over their noise floor: a mark per data set and dimension, the mean over seeds.

    At the grey line the model's samples cannot be told from true ones. Open marks hold a value that is not
    trusted. ``rows`` as from ``floors``.
    """
    found = [str(metric) for metric in rows["metric"].unique()]
    metrics = sorted(found, key=lambda name: SAMPLED.index(name) if name in SAMPLED else len(SAMPLED))
    labels = [label for label, _ in by_label(rows)]
    figure, axes = panels(len(metrics), narrow=narrow, height=0.9 + 0.17 * len(labels))
    shapes = dict(zip(sorted(rows["dataset_label"].unique()), cycle(MARKERS)))
    for ax, metric in zip(axes, metrics, strict=True):
        means = floor_means(rows[rows["metric"] == metric])
        scale = means["scale"].iloc[0]
        for key, marks in means.groupby(["label", "dataset_label", "trusted"], observed=True):
            label, dataset, trusted = str(key[0]), str(key[1]), bool(key[2])
            y = [labels.index(label)] * len(marks)
            colour = look.colour(label)
            fill = colour if trusted else "none"
            (line,) = ax.plot(marks["over"], y, shapes[dataset], color=colour, alpha=0.8, markersize=5)
            line.set_markerfacecolor(fill)
        ax.axvline(1 if scale == "ratio" else 0, color="0.5", linewidth=1)
        ax.set_yticks(range(len(labels)), labels)
        ax.invert_yaxis()
        ax.set_xlabel(f"{named(metric)}\n{SCALES[scale]}")
        ax.margins(x=0.08)
        if scale == "ratio":
            ax.set_xscale("log")
            log_axis(ax.xaxis)
        else:
            ax.set_xscale("symlog", linthresh=2)
            ax.xaxis.set_major_formatter(lambda x, _: number(x, 1))
    handles = [Line2D([], [], ls="none", marker=m, color="0.35", label=name) for name, m in shapes.items()]
    legend(figure, handles, narrow=narrow, left=0.3 + 0.072 * max(len(label) for label in labels))
    return figure
