"""Figures of samples: densities in the plane beside the truth, and sample quality beside its noise floor."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ebmark.report.cost_figures import by_label
from ebmark.report.frames import Study, at_end
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


def lattices(study: Study) -> DataFrame:
    """The lattice of one run per label and data set in the plane: the ok run with the smallest seed.

    Pictures are kept for the first seed of a study; two more are tried where that run failed.
    """
    runs = study.quality[(study.quality["status"] == "ok") & (study.quality["dim"] == 2)].sort_values("seed")
    found = []
    for key, ids in runs.groupby(["label", "dataset_label"], observed=True)["id"]:
        label, dataset = map(str, key)
        pictures = (study.samples(id) for id in ids.head(3))
        rows = next((rows for rows in pictures if (rows["what"] == "grid").any()), DataFrame())
        if len(rows):
            found.append(rows[rows["what"] == "grid"].assign(label=label, dataset_label=dataset))
    if not found:
        return DataFrame(columns=["label", "dataset_label"])
    rows = pd.concat(found, ignore_index=True)
    return rows.assign(label=pd.Categorical(rows["label"], categories=study.labels, ordered=True))


def densities(rows: DataFrame, *, narrow: bool = False) -> Figure:
    """The density of one data set, true and fitted, on one colour scale.

    ``rows`` of one data set, from ``lattices``.
    """
    fitted = list(by_label(rows))
    truth = fitted[0][1]
    pictures = [(label, *_image(part, "log_model")) for label, part in fitted]
    if truth["log_true"].notna().any():
        pictures.insert(0, ("truth", *_image(truth, "log_true")))
    top = max(float(np.nanmax(picture[1])) for picture in pictures[:1])
    columns = 3 if narrow else 6
    lines = -(-len(pictures) // columns)
    figure = Figure(figsize=(3.9 if narrow else 8.6, (1.5 if narrow else 1.6) * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    for ax in axes:
        ax.set_axis_off()
    for ax, (title, density, extent) in zip(axes, pictures, strict=False):
        ax.imshow(density, extent=extent, origin="lower", cmap="mako", vmin=0, vmax=top, interpolation="none")
        ax.set_title(title, fontsize=8)
    return figure


def _image(rows: DataFrame, column: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    x = np.stack(rows["x"].tolist())
    side = round(len(x) ** 0.5)
    order = np.lexsort((x[:, 0], x[:, 1]))
    density = np.exp(rows[column].to_numpy()[order]).reshape(side, -1)
    return density, (x[:, 0].min(), x[:, 0].max(), x[:, 1].min(), x[:, 1].max())


def floors(study: Study) -> DataFrame:
    """Final sample metrics against their noise floor, the metric between independent true samples.

    ``over`` is the ratio to the floor's mean of a distance whose floor is everywhere more than two of its
    standard deviations; else how much worse the value is than the floor, in its standard deviations, also
    where more is better. ``scale`` says which.
    """
    rows = at_end(study.curve)
    rows = rows[rows["floor_mean"].notna() & (rows["metric"] != SAMPLER)].drop_duplicates(["id", "metric"])
    zero = (rows["floor_mean"] <= 2 * rows["floor_sd"].fillna(0)).groupby(rows["metric"]).transform("any")
    signed = ~rows["metric"].isin(DISTANCES) | zero
    sign = np.where(rows["metric"].isin(HIGHER), -1, 1)
    ratio = rows["value"] / rows["floor_mean"]
    excess = sign * (rows["value"] - rows["floor_mean"]) / rows["floor_sd"].where(rows["floor_sd"] > 0)
    rows = rows.assign(over=ratio.where(~signed, excess), scale=np.where(signed, "excess", "ratio"))
    return rows[rows["over"].notna()].reset_index(drop=True)


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
        part = rows[rows["metric"] == metric]
        scale = part["scale"].iloc[0]
        cells = part.groupby(["label", "dataset_label", "dim"], observed=True)
        means = cells.agg(over=("over", "mean"), trusted=("trusted", "all")).reset_index()
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
        ax.set_xlabel(f"{named(metric)}: {SCALES[scale]}")
        if scale == "ratio":
            ax.set_xscale("log")
            log_axis(ax.xaxis)
        else:
            ax.set_xscale("symlog", linthresh=2)
            ax.xaxis.set_major_formatter(lambda x, _: number(x, 1))
    handles = [Line2D([], [], ls="none", marker=m, color="0.35", label=name) for name, m in shapes.items()]
    legend(figure, handles, narrow=narrow)
    return figure
