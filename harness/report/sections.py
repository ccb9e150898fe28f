"""The sections of the report: which sentences, figures and tables stand together, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pandas import DataFrame

from ebmark import stats
from ebmark.report import (
    cost_figures,
    facts,
    limits,
    quality_figures,
    sample_figures,
    status_tables,
    tables,
    target_tables,
    targets,
    words,
)
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Grid
from ebmark.report.look import Look, Picture


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with its sentences, figures and tables; ``code`` is shown as it is."""

    anchor: str
    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole page: the answer, the figure of the first screen, and the sections."""

    title: str
    answer: Sequence[tuple[str, str]]
    headline: Picture | None
    sections: Sequence[Section]


def report(study: Study, look: Look) -> Report:
    """Everything the page shows."""
    runs = targets.runs(study)
    expected = targets.expected(runs) if len(runs) else DataFrame()
    target, cost = _target(study, runs, expected, look), _cost(study, look)
    answer = [
        ("Cost of a step", facts.growth(study)),
        ("Sampling", facts.sampling(study)),
        ("Cost to a target", facts.reaching(runs, expected)),
    ]
    first = [*target.pictures, *cost.pictures]
    sections = [
        cost,
        _share(study, look),
        _curves(study, look),
        target,
        _quality(study),
        _real(study),
        _statuses(study),
        _densities(study),
        _samples(study, look),
        _trust(study),
        Section(anchor="limits", title="What the numbers do not say", text=limits.limits(study)),
    ]
    return Report(title=study.title, answer=answer, headline=first[0] if first else None, sections=sections)


def _cost(study: Study, look: Look) -> Section:
    title, cost = "What a step costs as the dimension grows", study.cost
    if cost["passes"].notna().sum() == 0:
        return Section(anchor="cost", title=title, text=["No run finished from which a cost could be read."])
    text = []
    if study.trials["lane"].eq("cost").sum() == 0:
        text.append(
            "The study has no cost lane: passes come from the quality lane, wall-clock is not compared."
        )
    elif cost_figures.usable(cost, "seconds").empty:
        text.append(
            "No timing of the cost lane is trusted: open marks, no exponents. On an idle machine, "
            "`ebmark run SPEC --rerun all` measures again; `ebmark doctor` says what disturbs."
        )
    seen = f"{cost['dataset_label'].iloc[0]}, network {cost['network'].iloc[0]}"
    figure = Picture(
        name="step_cost",
        alt=f"Cost of a training step against the dimension, log-log, on {seen}. {facts.growth(study)}",
        caption=f"On {seen}. Geometric means with t intervals; marks of different methods are moved apart "
        "sideways. Crosses at the top: no run was ok there. Open: timings that are not trusted.",
        draw=partial(cost_figures.step_cost, cost, look),
    )
    grids = [tables.exponents(cost), tables.crossovers(cost)]
    return Section(
        anchor="cost", title=title, text=text, pictures=[figure], grids=[g for g in grids if g.rows]
    )


def _share(study: Study, look: Look) -> Section:
    title, text = "How much of a step is sampling", [facts.sampling(study), facts.drift(study)]
    rows = cost_figures.chains(study.cost)
    if rows.empty:
        return Section(anchor="sampling", title=title, text=text[:1])
    figure = Picture(
        name="sampling_share",
        alt=f"Share of the training time inside samplers, against k and against d. {text[0]}",
        caption="Seconds inside samplers over all seconds of training. The grey line is one half.",
        draw=partial(cost_figures.sampling_share, study.cost, look),
    )
    return Section(anchor="sampling", title=title, text=[line for line in text if line], pictures=[figure])


def _curves(study: Study, look: Look) -> Section:
    title = "Quality along the run"
    metric, rows = quality_figures.curves(study)
    if rows.empty:
        none = "No trusted Fisher or KL divergence was measured along a run."
        return Section(anchor="quality", title=title, text=[none])
    few = study.seeds[0] < stats.MIN_SEEDS
    band = "Bands: Student's 95 % interval over seeds (log scale)" + (
        ", the range below 3 seeds" if few else ""
    )
    pictures = []
    for work, text in quality_figures.WORK.items():
        if rows[work].notna().any():
            draw = partial(quality_figures.anytime, rows, metric, work, look)
            alt = f"{words.named(metric, per_dim=True)} against {text}, per data set, smallest and largest d."
            caption = f"{band}. A cross ends a run that failed."
            pictures.append(Picture(name=f"quality_{work}", alt=alt, caption=caption, draw=draw))
    untimed = sorted(rows.loc[rows["seconds_cost"].isna(), "dataset_label"].unique())
    note = (
        f"No trusted cost of a step for cells of {words.listed(untimed)}: not shown in time."
        if untimed
        else ""
    )
    lead = "Time is the number of steps times the cost of a step measured alone, never the clock of a packed run."
    return Section(anchor="quality", title=title, text=[lead, *filter(None, [note])], pictures=pictures)


def _target(study: Study, runs: DataFrame, expected: DataFrame, look: Look) -> Section:
    title = "What it costs to reach a quality"
    if expected.empty:
        text = "No target in the study, or its metric was never taken. A `[[target]]` table in the study sets one."
        return Section(anchor="target", title=title, text=[text])
    figure = Picture(
        name="target_cost",
        alt=f"Expected cost to reach the target against the dimension. {facts.reaching(runs, expected)}",
        caption="Expected cost: that of all runs over the number that reached the target. Read at the first "
        "checkpoint at or below it, so an upper bound. Crosses: too few seeds reached it. With fewer than 3 "
        "seeds: one open mark per run that did, and no claim.",
        draw=partial(quality_figures.target_cost, runs, expected, look),
    )
    grids = [
        target_tables.reached(expected, quantity)
        for quantity in targets.QUANTITIES
        if expected[quantity].notna().any()
    ]
    growth = target_tables.growth(targets.exponents(expected))
    grids += [growth] if growth.rows else []
    return Section(anchor="target", title=title, text=[], pictures=[figure], grids=grids)


def _quality(study: Study) -> Section:
    title, grids = "Quality reached", []
    for metric, per_dim, log in (("fisher", True, True), ("kl", False, False), ("nll", False, False)):
        if len(finals(study, metric)):
            grids.append(tables.quality(study, metric, per_dim=per_dim, log=log))
            if per_dim:
                grids.append(target_tables.summary(study, metric))
    text = [] if grids else ["No run finished with a Fisher divergence, KL divergence or likelihood."]
    if grids and study.seeds[1] < stats.MIN_SEEDS:
        text = [f"With {words.counted(study.seeds[1], 'seed')} per cell nothing is ranked."]
    return Section(anchor="reached", title=title, text=text, grids=grids)


def _real(study: Study) -> Section:
    title, grid = "Real data against a fitted Gaussian", status_tables.real(study)
    if not grid.rows:
        return Section(anchor="real", title=title, text=["No likelihood on real data in these tables."])
    text = [f"{row[0].text} on {row[1].text}: {row[4].text}." for row in grid.rows]
    return Section(anchor="real", title=title, text=[" ".join(text)], grids=[grid])


def _statuses(study: Study) -> Section:
    grids = [status_tables.statuses(study), status_tables.reasons(study)]
    text = [] if grids[1].rows else ["Every trial is ok."]
    return Section(anchor="status", title="What failed", text=text, grids=[g for g in grids if g.rows])


def _densities(study: Study) -> Section:
    title, rows = "Densities in the plane", sample_figures.lattices(study)
    pictures = [
        Picture(
            name=f"density_{''.join(c if c.isalnum() else '_' for c in str(dataset))}",
            alt=f"Density of {dataset}, the truth first, then as fitted by each method.",
            caption=f"{dataset}: one run per method (the smallest seed that is ok), one colour scale.",
            draw=partial(sample_figures.densities, part),
            raster=True,
        )
        for dataset, part in rows.groupby("dataset_label")
    ]
    text = [] if pictures else ["No pictures of two-dimensional densities in these tables."]
    return Section(anchor="densities", title=title, text=text, pictures=pictures)


def _samples(study: Study, look: Look) -> Section:
    title, rows = "Samples beside their noise floor", sample_figures.floors(study)
    if rows.empty:
        return Section(anchor="samples", title=title, text=["No sample metric with a noise floor was taken."])
    figure = Picture(
        name="sample_quality",
        alt="Sample metrics of each method relative to the same metric between independent true samples.",
        caption="A mark per data set and dimension, mean over seeds. Grey line: as good as true samples.",
        draw=partial(sample_figures.beside_floor, rows, look),
    )
    return Section(anchor="samples", title=title, pictures=[figure])


def _trust(study: Study) -> Section:
    grids = [status_tables.distrust(study), status_tables.environments(study)]
    code = json.dumps(study.spec, indent=1, ensure_ascii=False, default=str) if study.spec else ""
    return Section(
        anchor="trust",
        title="How far the numbers can be trusted",
        text=limits.provenance(study),
        grids=[grid for grid in grids if grid.rows],
        code=code,
    )
