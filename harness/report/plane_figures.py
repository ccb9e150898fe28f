"""Pictures in the plane: densities and samples of the fitted energies beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report.cost_figures import by_label
from ebmark.report.frames import Study

Shown = tuple[str, np.ndarray, tuple[float, float, float, float]]  # name, picture, extent
DOTS = 100  # of a small picture, along each side
COARSE, FEW = 40, 200  # points along a side of the lattice and samples of a label in the CSV files


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
