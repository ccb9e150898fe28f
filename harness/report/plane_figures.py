"""Pictures in the plane: densities and samples of the fitted energies beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report.frames import Study
from ebmark.stats import Array

Extent = tuple[float, float, float, float]  # left, right, bottom, top
DOTS = 72  # at most, of a small picture along each side: what a screen shows of it
COARSE, FEW = 20, 100  # points along a side of the lattice, and samples of a label, in the CSV files


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What one run keeps of the plane.

    Attributes:
        id: of the trial.
        label: of the method.
        dataset: label of the data set.
        axes: x1 and x2 of the lattice, ``(m,)`` each; empty where there is none.
        model: log-density of the fitted energy, ``(m, m)``, a row per x2.
        truth: that of the target; NaN where it is not known.
        samples: of the fitted energy, ``(n, 2)``.
        true: of the target, ``(n, 2)``.
    """

    id: str
    label: str
    dataset: str
    axes: tuple[Array, Array]
    model: Array
    truth: Array
    samples: Array
    true: Array


def planes(study: Study) -> dict[str, list[Plane]]:
    """By data set, one run per label: the ok run with the smallest seed.

    Pictures are kept for the first seed of a study; two more are tried where that run failed.
    """
    runs = study.quality[(study.quality["status"] == "ok") & (study.quality["dim"] == 2)].sort_values("seed")
    found: dict[str, list[Plane]] = {}
    for key, ids in runs.groupby(["dataset_label", "label"], observed=True)["id"]:
        dataset, label = map(str, key)
        for id in ids.head(3):
            rows = study.samples(id)
            if len(rows):
                found.setdefault(dataset, []).append(_plane(rows, id, label, dataset))
                break
    return found


def _plane(rows: DataFrame, id: str, label: str, dataset: str) -> Plane:
    """The rows of one trial as arrays, the lattice thinned to ``DOTS``."""
    grid = rows[rows["what"] == "grid"]
    x = _points(grid)
    axes = np.unique(x[:, 0]), np.unique(x[:, 1])
    order = np.lexsort((x[:, 0], x[:, 1]))
    shape = (len(axes[1]), len(axes[0]))
    step = max(1, -(-len(axes[0]) // DOTS))
    model, truth = (
        grid[name].to_numpy(float)[order].reshape(shape)[::step, ::step] for name in ("log_model", "log_true")
    )
    return Plane(
        id=id,
        label=label,
        dataset=dataset,
        axes=(axes[0][::step], axes[1][::step]),
        model=model,
        truth=truth,
        samples=_points(rows[rows["what"] == "model"]),
        true=_points(rows[rows["what"] == "true"]),
    )


def _points(rows: DataFrame) -> Array:
    return np.stack(rows["x"].tolist()) if len(rows) else np.empty((0, 2))


def densities(shown: Sequence[Plane], *, narrow: bool = False) -> Figure:
    """The density of one data set, true and fitted, on one colour scale; ``shown`` with a lattice."""
    first = shown[0]
    extent = (first.axes[0][0], first.axes[0][-1], first.axes[1][0], first.axes[1][-1])
    known = bool(np.isfinite(first.truth).any())
    pictures = {"truth": np.exp(first.truth)} if known else {}
    pictures |= {plane.label: np.exp(plane.model) for plane in shown}
    top = float(np.nanmax(next(iter(pictures.values()))))
    return _gallery(pictures, extent, top, narrow=narrow)


def scatter(shown: Sequence[Plane], *, narrow: bool = False) -> Figure:
    """Samples of one data set as counts on a fine lattice, true ones first; ``shown`` with samples."""
    points = {"truth": shown[0].true} | {plane.label: plane.samples for plane in shown}
    points = {label: x for label, x in points.items() if len(x)}
    first = next(iter(points.values()))
    middle, half = (first.max(0) + first.min(0)) / 2, 0.65 * float(np.ptp(first, axis=0).max())
    edges = [np.linspace(m - half, m + half, DOTS + 1) for m in middle]
    counts = {label: np.histogram2d(x[:, 0], x[:, 1], bins=edges)[0].T for label, x in points.items()}
    extent = (edges[0][0], edges[0][-1], edges[1][0], edges[1][-1])
    return _gallery({label: np.sqrt(n) for label, n in counts.items()}, extent, 2.0, narrow=narrow)


def _gallery(pictures: dict[str, Array], extent: Extent, top: float, *, narrow: bool) -> Figure:
    """Small pictures in rows of six, or of three, each with its name."""
    columns = 3 if narrow else 6
    lines = -(-len(pictures) // columns)
    width, height = (3.9, 1.5 * lines) if narrow else (8.6, 1.6 * lines)
    side, tall = width / columns, height / lines
    figure = Figure(figsize=(width, height))
    for i, (title, image) in enumerate(pictures.items()):
        row, column = divmod(i, columns)
        left, bottom = column * side + 0.05, (lines - 1 - row) * tall + 0.05
        ax = figure.add_axes((left / width, bottom / height, (side - 0.1) / width, (tall - 0.32) / height))
        ax.set_axis_off()
        ax.imshow(image, extent=extent, origin="lower", cmap="mako", vmin=0, vmax=top, interpolation="none")
        ax.set_title(title, fontsize=7.5, pad=4)
    return figure


def lattice_data(shown: Sequence[Plane]) -> DataFrame:
    """Log-densities of the truth and of every label on a coarse lattice, a row per point."""
    first = shown[0]
    step = max(1, -(-len(first.axes[0]) // COARSE))
    x1, x2 = np.meshgrid(*(axis[::step] for axis in first.axes))
    columns = {"x1": x1, "x2": x2, "truth": first.truth[::step, ::step]}
    columns |= {plane.label: plane.model[::step, ::step] for plane in shown}
    return DataFrame({name: values.ravel() for name, values in columns.items()}).round(2)


def sample_data(shown: Sequence[Plane]) -> DataFrame:
    """The first samples of the truth and of every label: ``label``, ``x1``, ``x2``."""
    points = {"truth": shown[0].true} | {plane.label: plane.samples for plane in shown}
    return pd.concat(
        [DataFrame(x[:FEW], columns=["x1", "x2"]).round(3).assign(label=label) for label, x in points.items()]
    )[["label", "x1", "x2"]]
