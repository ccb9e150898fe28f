"""How figures look: a colour per method or family, panels, legends outside the axes, bytes that repeat."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from pandas import DataFrame

from ebmark.report.names import FAMILIES, ORACLE, OTHER, family
from ebmark.report.words import number

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*")
DASHES = ((), (5, 2), (2, 1.5), (6, 2, 1.5, 2), (1, 1))
# Of seaborn's palette: like colours apart, two too faint on white left out.
ORDER = (0, 1, 2, 3, 4, 9, 7, 5)
ORACLE_COLOUR = "0.15"

NAMED = 15  # members of a family that a caption names
# Multiples of the powers of ten that get a tick, by the ratio of the ends of the axis.
TICKS = ((6, (1, 1.5, 2, 3, 4, 5, 7)), (100, (1, 2, 5)), (np.inf, (1,)))
LEFT = 0.9  # inches beside a panel, for its ticks and the name of its axis
Draw = Callable[..., Figure]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: of its files.
        alt: what it shows, in words.
        caption: how to read it.
        draw: ``draw(narrow=...)`` makes it, for a wide page or for a telephone.
        data: the numbers that it shows, for its CSV file.
    """

    name: str
    alt: str
    caption: str
    draw: Draw
    data: DataFrame = field(default_factory=DataFrame)


class Look:
    """Colour by method, marker by label, dash by variant of the method; the same in every figure.

    With more methods than colours: colour by family, marker and dash by label within it, legends in the order
    of the families. The oracle is black.

    Args:
        labels: labels of the methods, in order.
        methods: the method of each label.
    """

    def __init__(self, labels: Sequence[str], methods: Sequence[str]) -> None:
        self.index = {label: i for i, label in enumerate(labels)}
        names = sorted({*methods} - {ORACLE})
        self.by_family = len(names) > len(self._palette)
        group = [family(name) for name in methods] if self.by_family else [*methods]
        names = [*FAMILIES, OTHER] if self.by_family else names
        rank = [group[:i].count(name) for i, name in enumerate(group)]
        self._members = {name: [x for x, g in zip(labels, group, strict=True) if g == name] for name in names}
        self._style = {
            label: {
                "color": ORACLE_COLOUR if method == ORACLE else self._palette[names.index(name)],
                "marker": MARKERS[(r if self.by_family else i) % len(MARKERS)],
                "dashes": DASHES[r % len(DASHES)],
            }
            for i, (label, method, name, r) in enumerate(zip(labels, methods, group, rank, strict=True))
        }

    @cached_property
    def _palette(self) -> list[str]:
        colours = sns.color_palette("colorblind").as_hex()
        return [colours[i] for i in ORDER]

    def colour(self, label: str) -> str:
        """The label's colour."""
        return str(self._style[label]["color"])

    def marker(self, label: str) -> str:
        """The label's mark."""
        return str(self._style[label]["marker"])

    def line(self, label: str, **more: Any) -> dict[str, Any]:
        """Keywords of ``Axes.plot`` for the label."""
        return {"linewidth": 1.3, "markersize": 4.5, **self._style[label], **more}

    def mark(self, label: str, **more: Any) -> dict[str, Any]:
        """Keywords of ``Axes.plot`` for open marks without a line: single or doubtful values."""
        style = {name: value for name, value in self.line(label).items() if name != "dashes"}
        return {**style, "linestyle": "none", "fillstyle": "none", **more}

    @property
    def key(self) -> str:
        """What the colours stand for, in words, where they are not one per method; else empty."""
        if not self.by_family:
            return ""
        families = (
            f"{name} ({', '.join(labels) if len(labels) <= NAMED else f'{len(labels)} of them'})"
            for name, labels in self._members.items()
            if labels
        )
        return f" Colours are families: {'; '.join(families)}."

    def handles(self, names: dict[str, str]) -> list[Line2D]:
        """Entries of a legend: label -> text."""
        order = [*names]
        if self.by_family:
            order = [label for labels in self._members.values() for label in labels if label in names]
        return [Line2D([], [], label=names[label], **self.line(label)) for label in order]

    def dodge(self, label: str, width: float = 0.3) -> float:
        """A factor on a logarithmic axis that keeps marks of different labels apart."""
        return float(np.exp(width * (self.index[label] / max(len(self.index) - 1, 1) - 0.5)))


@contextmanager
def theme() -> Iterator[None]:
    """Seaborn's light grid, small type, text as text, and identifiers that do not depend on the run."""
    rc: Any = {
        **sns.axes_style("whitegrid"),
        **{"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8.5},
        **{"xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "axes.edgecolor": "0.4", "grid.color": "0.9"},
        **{"font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"], "svg.fonttype": "none"},
        **{
            "hatch.linewidth": 0.5,
            "svg.hashsalt": "ebmark",
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        },
    }
    with mpl.rc_context(rc):
        yield


def panels(n: int, *, narrow: bool, height: float = 2.7) -> tuple[Figure, list[Axes]]:
    """A figure with ``n`` panels, two in a row, or one where ``narrow``; ``legend`` arranges them."""
    columns = 1 if narrow or n == 1 else 2
    rows = -(-n // columns)
    figure = Figure(figsize=(3.9 if narrow else 8.6, height * rows + 0.2))
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in axes[n:]:
        unused.set_visible(False)
    return figure, axes[:n]


def legend(
    figure: Figure,
    handles: Sequence[Line2D],
    *,
    narrow: bool,
    title: str = "",
    wide: int = 4,
    left: float = LEFT,
) -> None:
    """A legend below the panels, in ``wide`` columns or fewer; ``left`` inches hold the panels' ticks."""
    texts = [str(handle.get_label()).split("\n") for handle in handles]
    longest = max((len(line) for lines in texts for line in lines), default=0)
    columns = max(1, min(wide, len(handles), (48 if narrow else 128) // (longest + 7)))
    rows = -(-len(handles) // columns) * max((len(lines) for lines in texts), default=1)
    height = 0.18 * (rows + bool(title)) + 0.12
    width, before = figure.get_size_inches()
    figure.set_size_inches(width, before + height)
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        title=title or None,
        frameon=False,
        handlelength=2.6,
        columnspacing=1.2,
    )
    _arrange(figure, height, left)


def _arrange(figure: Figure, below: float, left: float) -> None:
    """Panels in inches, ``below`` kept for the legend: a layout engine takes as long as all the drawing."""
    width, height = figure.get_size_inches()
    titles = max(ax.get_title().count("\n") + bool(ax.get_title()) for ax in figure.axes)
    grid = figure.axes[0].get_gridspec()
    assert grid is not None  # made by ``panels``
    ticks = 0.5 + 0.15 * max(ax.get_xlabel().count("\n") for ax in figure.axes)
    head, foot, right = 0.1 + 0.17 * titles, ticks + below, 0.12
    across = (width - right - grid.ncols * left) / grid.ncols
    down = (height - grid.nrows * (head + ticks) - below) / grid.nrows
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=foot / height,
        top=1 - head / height,
        wspace=left / across,
        hspace=(head + ticks) / down,
    )


def log_dims(ax: Axes, dims: Sequence[int]) -> None:
    """A logarithmic axis of dimensions with a tick at each (at every other where they are many)."""
    ax.set_xscale("log")
    step = -(-len(dims) // 8)
    ax.set_xticks([*dims][::step], [str(d) for d in dims][::step])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("dimension d")


def log_axis(axis: Axis, unit: Callable[[float, int], str] = number) -> None:
    """A logarithmic axis with ticks at powers of ten, at more of their multiples the shorter it is."""
    lo, hi = axis.get_view_interval()
    if lo <= 0:  # nothing was drawn but crosses
        lo, hi = 1.0, 10.0
        axis.set_view_interval(lo, hi, ignore=True)
    if hi < 1.5 * lo:  # all but one value, whose ticks would read the same
        lo, hi = lo / 1.5, 1.5 * hi
        axis.set_view_interval(lo, hi, ignore=True)
    axis.set_major_locator(LogLocator(subs=next(subs for most, subs in TICKS if hi / lo < most)))
    axis.set_major_formatter(FuncFormatter(lambda y, _: unit(y, 1 if f"{y:.1e}"[2] == "0" else 2)))
    axis.set_minor_formatter(NullFormatter())


def headroom(ax: Axes) -> None:
    """Room above the lines of a logarithmic axis for crosses, where there are some."""
    if any(line.get_marker() == "x" for line in ax.lines):
        lo, hi = ax.get_ylim()
        ax.set_ylim(lo, hi * (hi / lo) ** 0.07)


def cross(ax: Axes, x: float, look: Look, label: str, *, size: float = 6) -> None:
    """A cross of ``size`` points at the top of the panel: a failure at ``x``."""
    ax.plot(
        [x],
        [0.965],
        "x",
        color=look.colour(label),
        transform=ax.get_xaxis_transform(),
        markersize=size,
        mew=size / 4,
    )


def settle(figure: Figure) -> Figure:
    """The figure with its layout done once; otherwise each file would do it again."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()
