"""Names beside lines: at the right of a panel, each at the height of its line's end, none over another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from ebmark.stats import Array

TYPE = 7.5  # points, of the names beside the lines
LINE = 0.13  # inches from one name to the next


@dataclass(frozen=True, kw_only=True)
class Name:
    """A line's name: where the line ends, in data, how it is written, and the mark of the line."""

    x: float
    y: float
    text: str
    colour: str
    marker: str = "o"
    bold: bool = False


def beside(ax: Axes, named: Sequence[Name], height: float) -> None:
    """Names at the right, each at the height of its line's end, moved apart where they would overlap."""
    if not named:
        return
    lo, hi = (math.log(y) for y in ax.get_ylim())
    named = sorted(named, key=lambda name: name.y)
    want = np.array([(math.log(name.y) - lo) / (hi - lo) for name in named])
    at = spread(want, LINE / height)
    for name, y in zip(named, at, strict=True):
        ax.annotate(
            name.text,
            (name.x, name.y),
            xytext=(1.06, y),
            textcoords="axes fraction",
            va="center",
            fontsize=TYPE,
            fontweight="bold" if name.bold else "normal",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": name.colour,
                "linewidth": 0.4,
                "alpha": 0.5,
            },
            annotation_clip=False,
        )
        ax.plot(
            [1.04],
            [y],
            name.marker,
            color=name.colour,
            markersize=4,
            transform=ax.transAxes,
            clip_on=False,
        )


def spread(want: Array, gap: float) -> Array:
    """Positions ``(n,)`` in order, ``gap`` apart or more, near ``want (n,)``, in [0, 1] if there is room."""
    blocks: list[list[float]] = []  # [sum of wanted starts, count] of names that touch
    for i, y in enumerate(want):
        blocks.append([y - i * gap, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = np.concatenate([[total / count] * int(count) for total, count in blocks])
    steps = gap * np.arange(len(want))
    return np.asarray(np.maximum(np.minimum(starts + steps, 1 - steps[::-1]), steps))
