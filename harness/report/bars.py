"""Stacked horizontal bars: kinds told apart by hatch as well as by colour, a bar per label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ebmark.report.look import ORACLE_COLOUR

STYLES: Sequence[dict[str, Any]] = tuple(
    {"facecolor": colour, "hatch": hatch, "edgecolor": ORACLE_COLOUR, "linewidth": 0.5}
    for colour, hatch in (("#0173b2", ""), ("#de8f05", "//"), ("#e6e6e6", ""), ("#56b4e9", "xx"))
)


def stacked(labels: Sequence[str], kinds: Mapping[str, np.ndarray], *, narrow: bool) -> tuple[Figure, Axes]:
    """A bar per label, the first at the top: its kinds, each ``(labels,)``, one after another."""
    figure = Figure(figsize=(3.9 if narrow else 8.6, 1.1 + 0.19 * len(labels)), layout="constrained")
    ax = figure.subplots()
    left, handles = np.zeros(len(labels)), []
    for (name, width), style in zip(kinds.items(), STYLES, strict=False):
        ax.barh(range(len(labels)), width, left=left, height=0.72, **style)
        left = left + width
        handles.append(Patch(label=name, **style))
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    columns = 2 if narrow else 4
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure, ax
