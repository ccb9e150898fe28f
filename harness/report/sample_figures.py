"""Figures of samples: densities in the plane beside the truth, and sample quality beside its noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
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
Shown = tuple[str, np.ndarray, tuple[float, float, float, float]]  # name, picture, extent
DOTS = 100  # of a small picture, along each side
COARSE, FEW = 40, 200  # points along a side of the lattice and samples of a label in the CSV files
SAMPLER = "ksd"  # says of the sampler whether it arrived, not of the model
DISTANCES = (
    "energy_distance",
    "mmd",
    "sliced_wasserstein",
    "mode_weights",
)  # from 0 on: a ratio says something
SCALES = {"ratio": "ratio to the floor", "excess": "worse than the floor, in its sd"}


def pictures(study: Study) -> DataFrame:
    """Lattice and samples of one run per label and data set in the plane: the ok run with the smallest seed.

    Pictures are kept for the first seed of a study; two more are tried where that run failed.
    """
    runs = study.quality[(study.quality["status"] == "ok") & (study.quality["dim"] == 2)].sort_values("seed")
    found = []
    for key, ids in runs.groupby(["label", "dataset_label"], observed=True)["id"]:
        label, dataset = map(str, key)
        tried = (study.samples(id) for id in ids.head(3))
        rows = next((rows for rows in tried if len(rows)), DataFrame())
        if len(rows):
            found.append(rows.assign(label=label, dataset_label=dataset))
    if not found:
        return DataFrame(columns=["label", "dataset_label", "what", "x"])
    rows = pd.concat(found, ignore_index=True)
    return rows.assign(label=pd.Categorical(rows["label"], categories=study.labels, ordered=True))


def densities(rows: DataFrame, *, narrow: bool = False) -> Figure:
    """The density of one data set, true and fitted, on one colour scale.

    ``rows`` of one data set, from ``pictures``.
    """
    fitted = list(by_label(rows[rows["what"] == "grid"]))
    truth = fitted[0][1]
    shown = [(label, *_image(part, "log_model")) for label, part in fitted]
    if truth["log_true"].notna().any():
        shown.insert(0, ("truth", *_image(truth, "log_true")))
    return _gallery(shown, float(np.nanmax(shown[0][1])), narrow=narrow)


def scatter(rows: DataFrame, *, narrow: bool = False) -> Figure:
    """Samples of one data set as counts on a fine lattice, true ones first; ``rows`` from ``pictures``."""
    points = {"truth": _points(rows[(rows["label"] == rows["label"].iloc[0]) & (rows["what"] == "true")])}
    points |= {label: _points(part) for label, part in by_label(rows[rows["what"] == "model"])}
    points = {label: x for label, x in points.items() if len(x)}
    first = next(iter(points.values()))
    middle, half = (first.max(0) + first.min(0)) / 2, 0.65 * float(np.ptp(first, axis=0).max())
    edges = [np.linspace(m - half, m + half, DOTS + 1) for m in middle]
    extent = (edges[0][0], edges[0][-1], edges[1][0], edges[1][-1])
    counts = {label: np.histogram2d(x[:, 0], x[:, 1], bins=edges)[0].T for label, x in points.items()}
    return _gallery([(label, np.sqrt(n), extent) for label, n in counts.items()], 2.0, narrow=narrow)


def _points(rows: DataFrame) -> np.ndarray:
    return np.stack(rows["x"].tolist()) if len(rows) else np.empty((0, 2))


def _gallery(shown: Sequence[Shown], top: float, *, narrow: bool) -> Figure:
    """Small pictures in rows of six, or of three, each with its name."""
    columns = 3 if narrow else 6
    lines = -(-len(shown) // columns)
    width, tall = (3.9, 1.5) if narrow else (8.6, 1.6)
    figure = Figure(figsize=(width, tall * lines))
    side = width / columns
    for i, (title, image, extent) in enumerate(shown):
        row, column = divmod(i, columns)
        box = (column * side + 0.05, (lines - 1 - row) * tall + 0.05, side - 0.1, tall - 0.3)
        ax = figure.add_axes(
            (box[0] / width, box[1] / (tall * lines), box[2] / width, box[3] / (tall * lines))
        )
        ax.set_axis_off()
        ax.imshow(image, extent=extent, origin="lower", cmap="mako", vmin=0, vmax=top, interpolation="none")
        ax.set_title(title, fontsize=8, pad=2)
    return figure


def _image(rows: DataFrame, column: str) -> Any:
    """The density of a lattice, thinned to what a small picture shows, and its extent."""
    x = np.stack(rows["x"].tolist())
    side = round(len(x) ** 0.5)
    order = np.lexsort((x[:, 0], x[:, 1]))
    density = np.exp(rows[column].to_numpy()[order]).reshape(side, -1)
    thin = max(1, side // DOTS)
    return density[::thin, ::thin], (x[:, 0].min(), x[:, 0].max(), x[:, 1].min(), x[:, 1].max())


def lattice_data(rows: DataFrame) -> DataFrame:
    """Log-densities of the truth and of every label on a coarse lattice, a row per point."""
    grids = rows[rows["what"] == "grid"]
    first = grids[grids["label"] == grids["label"].iloc[0]]
    x = np.stack(first["x"].tolist())
    axes = [np.unique(x[:, i])[:: max(1, round(len(x) ** 0.5) // COARSE)] for i in (0, 1)]
    keep = np.isin(x[:, 0], axes[0]) & np.isin(x[:, 1], axes[1])
    columns = {"x1": x[keep, 0], "x2": x[keep, 1], "truth": first["log_true"].to_numpy()[keep]}
    for label, part in by_label(grids):
        if len(part) == len(keep):
            columns[label] = part["log_model"].to_numpy()[keep]
    return DataFrame(columns).round(2)


def sample_data(rows: DataFrame) -> DataFrame:
    """The first samples of the truth and of every label: ``label``, ``x1``, ``x2``."""
    kept = [part.head(FEW).assign(label=label) for label, part in by_label(rows[rows["what"] == "model"])]
    first = rows[(rows["label"] == rows["label"].iloc[0]) & (rows["what"] == "true")]
    table = pd.concat([first.head(FEW).assign(label="truth"), *kept])
    x = _points(table)
    return DataFrame({"label": table["label"].astype(str).to_numpy(), "x1": x[:, 0], "x2": x[:, 1]}).round(3)


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
