"""Chain diagnostics: acceptance, displacement and step of the chains at the end of training, against d."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report.cost_figures import by_label, summarised
from ebmark.report.frames import Study
from ebmark.report.look import Look, legend, log_axis, log_dims, panels

SHOWN = {
    "acceptance": "acceptance at the end",
    "displacement": "displacement at the end (data units)",
    "h": "step h at the end",
}
LOG = frozenset({"h", "displacement"})


def rows(study: Study) -> DataFrame:
    """Final diagnostics of the chains on the data set with most dimensions: mean over seeds and interval."""
    found = study.final_logs
    found = found[found["metric"].isin([*SHOWN]) & (found["value"] > 0)].drop_duplicates(["id", "metric"])
    if found.empty:
        return DataFrame(columns=["label", "dataset_label", "dim", "metric", "centre"])
    sizes = (
        found.groupby("dataset_label", observed=True)["dim"]
        .nunique()
        .sort_values(ascending=False, kind="stable")
    )
    found = found[found["dataset_label"] == sizes.index[0]]
    table = summarised(found, "value", ["label", "dataset_label", "dim", "metric"], log=False)
    return table[["label", "dataset_label", "dim", "metric", "count", "centre", "lo", "hi"]]


def draw(table: DataFrame, look: Look, *, narrow: bool = False) -> Figure:
    """A panel per diagnostic against d."""
    shown = [metric for metric in SHOWN if (table["metric"] == metric).any()]
    figure, axes = panels(len(shown), narrow=narrow)
    for ax, metric in zip(axes, shown, strict=True):
        part = table[table["metric"] == metric]
        for label, line in by_label(part):
            ax.plot(line["dim"] * look.dodge(label), line["centre"], **look.line(label))
        log_dims(ax, sorted(part["dim"].unique()))
        ax.set_ylabel(SHOWN[metric])
        if metric in LOG:
            ax.set_yscale("log")
            log_axis(ax.yaxis)
        else:
            ax.set_ylim(0, 1.02)
    legend(figure, look.handles({label: label for label, _ in by_label(table)}), narrow=narrow)
    return figure
