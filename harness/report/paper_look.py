"""How figures for print look: a column or two wide, type of 8 points, fonts embedded as TrueType."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ebmark.report import words
from ebmark.report.look import Look, log_axis, log_dims

WIDTHS = {"": 3.25, "-wide": 6.75}  # inches of a column and of a page, by what the file's name ends with
TYPE = 8.0  # points
HEIGHT, LINE = 2.15, 0.135  # inches of a panel with its labels, and of a line of the legend
CROSS = 3.6  # points
LOW = 1.8  # inches of a panel where more than two stand below each other, so that a caption fits below


@contextmanager
def print_theme() -> Iterator[None]:
    """A white grid, serif type of 8 points that goes with Times, fonts that an editor can read."""
    rc: Any = {
        **sns.axes_style("whitegrid"),
        **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize"), TYPE),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), TYPE - 1),
        **{"font.family": ["serif"], "font.serif": ["STIXGeneral"], "mathtext.fontset": "stix"},
        **{"pdf.fonttype": 42, "ps.fonttype": 42, "axes.edgecolor": "0.3", "grid.color": "0.9"},
        **{"axes.linewidth": 0.6, "grid.linewidth": 0.5, "figure.facecolor": "white"},
    }
    with mpl.rc_context(rc):
        yield


def pdf(figure: Figure) -> bytes:
    """The figure as PDF, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return out.getvalue()


def style(look: Look, label: str, **more: Any) -> dict[str, Any]:
    """Keywords of ``Axes.plot`` for the label, fine enough for print."""
    return look.line(label, **{"linewidth": 1.0, "markersize": 3.2, "markeredgewidth": 0.3, **more})


def finish(ax: Axes, dims: Sequence[int], unit: str) -> None:
    """Logarithmic axes with their ticks; ``unit`` is time or number."""
    log_dims(ax, dims)
    ax.set_yscale("log")
    ax.margins(y=0.12)
    log_axis(ax.yaxis, words.seconds if unit == "time" else words.number)


def panels(n: int, width: float) -> tuple[Figure, list[Axes]]:
    """Panels below each other in a column, two in a row (three of three) where it is two columns wide."""
    columns = 1 if width < 5 or n == 1 else 3 if n == 3 else 2
    rows = -(-n // columns)
    figure = Figure(figsize=(width, (HEIGHT if rows <= 2 else LOW) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in axes[n:]:
        unused.set_visible(False)
    return figure, axes[:n]


def legend(figure: Figure, look: Look, names: dict[str, str], width: float) -> None:
    """Below the panels, in as many columns as fit."""
    handles = look.handles({label: names[label] for label in sorted(names, key=look.index.__getitem__)})
    for handle in handles:
        handle.set(linewidth=1.0, markersize=3.2)
    longest = max(len(name) for name in names.values())
    columns = max(1, min(len(handles), int(width / (0.051 * longest + 0.4))))
    lines = -(-len(handles) // columns)
    figure.set_size_inches(width, figure.get_size_inches()[1] + LINE * lines + 0.08)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=2.0,
        columnspacing=1.0,
        labelspacing=0.25,
        borderpad=0.1,
    )
