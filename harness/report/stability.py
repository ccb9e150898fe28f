"""How the runs ended: the share that diverged or failed, by method and setting."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.record import FAILED
from ebmark.report import status_tables, words
from ebmark.report.bars import stacked
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, cells, records
from ebmark.report.look import Picture
from ebmark.report.section import Section

TITLE = "Stability: what diverged and what failed"


def section(study: Study) -> Section:
    """Shares as a figure where anything failed, and the tables of statuses, places and reasons."""
    grids = [status_tables.statuses(study), places(study), status_tables.reasons(study)]
    shares = failures(study)
    bad = int(shares["runs"].mul(shares[[*FAILED]].sum(axis=1)).round().sum())
    runs = words.counted(int(shares["runs"].sum()), "run")
    text = [f"{f'{bad:,}' if bad else 'None'} of {runs} that were started diverged or failed."]
    if not grids[2].rows:
        text = ["Every trial is ok."]
    pictures = [_picture(shares)] if bad else []
    shown = [grid for grid in grids if grid.rows]
    return Section(anchor="status", title=TITLE, text=text, pictures=pictures, grids=shown)


def failures(study: Study) -> DataFrame:
    """Per label the number of ``runs`` started in both lanes, and the share of each way to fail."""
    trials = study.trials[~study.trials["status"].isin(["skipped", "cancelled"])]
    counts = trials.groupby(["label", "status"], observed=True).size().unstack(fill_value=0)
    runs = counts.sum(axis=1)
    shares = counts.reindex(columns=[*FAILED], fill_value=0).div(runs, axis=0)
    return shares.assign(runs=runs).reset_index()


def _picture(shares: DataFrame) -> Picture:
    worst = shares.assign(bad=shares[[*FAILED]].sum(axis=1)).sort_values("bad", kind="stable").iloc[-1]
    return Picture(
        name="stability",
        alt="Share of the runs that diverged, timed out, ran out of memory or crashed, by method and "
        f"setting. Most: {worst['label']}, {words.percent(worst['bad'])} of {worst['runs']:,} runs.",
        caption="Share of the runs that were started, both lanes. Methods without a bar had no failure.",
        draw=partial(draw, shares),
        data=shares,
    )


def draw(shares: DataFrame, *, narrow: bool = False) -> Figure:
    """A bar per label: the shares of the ways to fail, one after another."""
    kinds = {name: 100 * shares[name].to_numpy(float) for name in FAILED}
    figure, ax = stacked([str(label) for label in shares["label"]], kinds, narrow=narrow)
    ax.set_xlabel("% of the runs started")
    ax.set_xlim(0, max(1.0, 105 * float(shares[[*FAILED]].sum(axis=1).max())))
    return figure


def places(study: Study) -> Grid:
    """Labels x data sets and dimensions in which anything failed: failed / started."""
    trials = study.trials[~study.trials["status"].isin(["skipped", "cancelled"])]
    bad = trials["status"].isin(FAILED)
    counts = bad.groupby([trials[name] for name in ("label", "dataset_label", "dim")], observed=True)
    tidy = counts.agg(failed="sum", runs="size").reset_index()
    places = tidy[tidy["failed"] > 0][["dataset_label", "dim"]].drop_duplicates()
    tidy = tidy.merge(places, on=["dataset_label", "dim"]).sort_values(["label", "dataset_label", "dim"])
    wide = tidy.assign(
        text=tidy["failed"].astype(str) + "/" + tidy["runs"].astype(str),
        place=tidy["dataset_label"] + ", d = " + tidy["dim"].astype(str),
    )
    columns = [*dict.fromkeys(wide.sort_values(["dataset_label", "dim"])["place"])]
    body = {(str(row["label"]), row["place"]): row["text"] for row in records(wide)}
    labels = [*dict.fromkeys(str(label) for label in wide["label"])]
    return Grid(
        name="failures",
        title="Where runs failed",
        caption="Runs that diverged, timed out, ran out of memory or crashed, of those that were started in "
        "both lanes; only data sets and dimensions in which any did. –: not run there.",
        head=["method", *columns],
        rows=[cells(label, *(body.get((label, place), "–") for place in columns)) for label in labels],
        tidy=tidy,
    )
