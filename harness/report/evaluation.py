"""What evaluation cost beside training: an anytime curve is worth less than what it took if it took most."""

from __future__ import annotations

from ebmark.report import words
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, cells, records

HIGH = 0.3  # share of a trial's time above which longer training costs little more


def shares(study: Study) -> Grid:
    """Data set x (training, evaluation, share): medians over the runs of the quality lane that are ok."""
    runs = study.quality[study.quality["status"] == "ok"]
    training = runs["wall"].fillna(0) + runs["first_call"].fillna(0)
    runs = runs.assign(training=training, evaluation=runs["wall_evaluation"])
    tidy = runs.groupby(["dataset_label", "dim"]).agg(
        runs=("id", "size"),
        training=("training", "median"),
        evaluation=("evaluation", "median"),
        all_training=("training", "sum"),
        all_evaluation=("evaluation", "sum"),
    )
    total = tidy["all_training"] + tidy["all_evaluation"]
    tidy = tidy.assign(share=(tidy["all_evaluation"] / total).where(total > 0)).reset_index()
    rows = [
        cells(
            f"{row['dataset_label']}, d = {row['dim']}",
            *(words.seconds(row[name]) for name in ("training", "evaluation")),
            words.percent(row["share"]),
        )
        for row in records(tidy)
    ]
    return Grid(
        name="evaluation",
        title="What evaluation cost",
        caption="Median seconds per trial in the packed lane, the first call included, and the share of "
        "evaluation in the time of all trials. No part of a method's cost.",
        head=["data", "training", "evaluation", "share of evaluation"],
        rows=rows,
        tidy=tidy,
    )


def sentence(grid: Grid) -> list[str]:
    """The share in the whole study, and what makes it smaller; nothing where nothing was evaluated."""
    training, evaluation = (float(grid.tidy[f"all_{name}"].sum()) for name in ("training", "evaluation"))
    if not evaluation > 0:
        return []
    share = evaluation / (training + evaluation)
    text = f"Evaluation took {words.percent(share)} of the time of the trials and is no part of any cost."
    if share > HIGH:
        text += (
            " A checked likelihood has its price however short the training; longer budgets lower the share."
        )
    return [text]
