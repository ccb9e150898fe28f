"""The parts of a step: seconds by phase, as a figure and a table."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report import words
from ebmark.report.bars import stacked
from ebmark.report.cost_figures import usable
from ebmark.report.grid import Grid, cells, records

PHASES = {
    "wall_sampling": "sampling",
    "wall_loss": "loss",
    "wall_backward": "backward",
    "wall_optimiser": "optimiser",
}


def parts(cost: DataFrame) -> DataFrame:
    """Seconds per step by phase and label at the largest d that most labels were timed at; may be empty.

    The seconds of a step, shared out as its phases are; means over the trusted rows of the cost lane.
    """
    rows = usable(cost, "seconds")
    if rows.empty:
        return DataFrame(columns=["label", "d", *PHASES])
    counts = rows.groupby("dim")["label"].nunique()
    d = counts[counts == counts.max()].index.max()
    at = rows[rows["dim"] == d]
    shares = at[[*PHASES]].div(at[[*PHASES]].sum(axis=1), axis=0)
    each = shares.mul(at["seconds"], axis=0).groupby(at["label"], observed=True).mean()
    table: DataFrame = each.fillna(0.0).reset_index().assign(d=d)
    return table[["label", "d", *PHASES]]


def draw(table: DataFrame, *, narrow: bool = False) -> Figure:
    """A bar per label, its phases one after another as shares of its step, whose seconds stand at its end."""
    whole = table[[*PHASES]].sum(axis=1)
    kinds = {name: 100 * (table[column] / whole).to_numpy(float) for column, name in PHASES.items()}
    figure, ax = stacked([str(label) for label in table["label"]], kinds, narrow=narrow)
    ax.set_xlabel(f"% of a step at d = {table['d'].iloc[0]}; right: the step")
    ax.set_xlim(0, 100)
    for i, seconds in enumerate(whole):
        ax.annotate(words.seconds(seconds), (101, i), va="center", annotation_clip=False, fontsize=8.5)
    return figure


def table(found: DataFrame) -> Grid:
    """Label x phase: seconds and share of the step."""
    total = found[[*PHASES]].sum(axis=1)
    rows = [
        cells(str(row["label"]), *(_part(row[column], whole) for column in PHASES), words.seconds(whole))
        for row, whole in zip(records(found), total, strict=True)
    ]
    where = f"d = {found['d'].iloc[0]}" if len(found) else ""
    return Grid(
        name="step_phases",
        title=f"The parts of a step at {where}",
        caption="Seconds per step in each phase, and its share; sampling is the time inside the samplers, "
        "noise included, loss the rest of the loss. Making batches is outside. Means over trusted timings.",
        head=["method", *PHASES.values(), "together"],
        rows=rows,
        tidy=found.assign(together=total),
    )


def _part(seconds: float, whole: float) -> str:
    return f"{words.seconds(seconds)} ({words.percent(seconds / whole)})" if seconds > 0 else "0"
