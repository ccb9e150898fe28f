"""The report put together, and the sections on data, failures and trust."""

from __future__ import annotations

import json
from functools import partial

from pandas import DataFrame

from ebmark.report import (
    cost_sections,
    evaluation,
    facts,
    limits,
    method_tables,
    sample_figures,
    scaling_sections,
    status_tables,
    targets,
    words,
)
from ebmark.report.evaluator_tables import evaluators
from ebmark.report.frames import Study
from ebmark.report.look import Look, Picture
from ebmark.report.section import Report, Section
from ebmark.report.tuning_section import tuning


def report(study: Study, look: Look) -> Report:
    """Everything the page shows."""
    runs = targets.runs(study)
    expected = targets.expected(runs) if len(runs) else DataFrame()
    target, cost = cost_sections.target(study, runs, expected, look), cost_sections.cost(study, look)
    found = scaling_sections.views(study)
    scaling, tuned = scaling_sections.section(found, look), tuning(study)
    answer = [
        *scaling_sections.answers(found),
        ("Cost of a step", facts.growth(study)),
        ("Sampling", facts.sampling(study)),
        ("Cost to a target", facts.reaching(runs, expected)),
    ]
    first = [*scaling.pictures, *target.pictures, *cost.pictures]
    evaluated = evaluators(study)
    sections = [
        *([evaluated] if evaluated else []),
        *([scaling] if found else []),
        *([tuned] if tuned else []),
        cost,
        cost_sections.share(study, look),
        cost_sections.curves(study, look),
        target,
        cost_sections.quality(study),
        _real(study),
        _statuses(study),
        _densities(study),
        _samples(study, look),
        _diagnostics(study),
        _trust(study),
        Section(anchor="limits", title="What the numbers do not say", text=limits.limits(study)),
    ]
    return Report(title=study.title, answer=answer, headline=first[0] if first else None, sections=sections)


def _real(study: Study) -> Section:
    title, grid = "Real data against a fitted Gaussian", status_tables.real(study)
    if not grid.rows:
        return Section(anchor="real", title=title, text=["No likelihood on real data in these tables."])
    text = [
        f"On {data}, no method is shown to beat the Gaussian fitted by maximum likelihood."
        for data, part in grid.tidy.groupby("data")
        if not (part["kind"] == "beats the Gaussian").any()
    ]
    text += [
        f"{data}, {kind}: {words.listed(part['label'].tolist())}."
        for (data, kind), part in grid.tidy.groupby(["data", "kind"])
    ]
    return Section(anchor="real", title=title, text=text, grids=[grid])


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
    grids = [grid for grid in (method_tables.generators(study),) if grid.rows]
    if rows.empty:
        none = "No sample metric with a noise floor was taken."
        return Section(anchor="samples", title=title, text=[none], grids=grids)
    figure = Picture(
        name="sample_quality",
        alt="Sample metrics of each method relative to the same metric between independent true samples.",
        caption="A mark per data set and dimension, mean over seeds; open: a value is not trusted. Grey "
        "line: as good as true samples; to its right is worse, also where more is better.",
        draw=partial(sample_figures.beside_floor, rows, look),
    )
    return Section(anchor="samples", title=title, pictures=[figure], grids=grids)


def _diagnostics(study: Study) -> Section:
    title, grid = "Diagnostics", method_tables.diagnostics(study)
    if not grid.rows:
        none = "No method in these tables logged a diagnostic in a run that is ok."
        return Section(anchor="diagnostics", title=title, text=[none])
    return Section(anchor="diagnostics", title=title, grids=[grid])


def _trust(study: Study) -> Section:
    cost = evaluation.shares(study)
    grids = [status_tables.distrust(study), cost, status_tables.environments(study)]
    code = json.dumps(study.spec, indent=1, ensure_ascii=False, default=str) if study.spec else ""
    return Section(
        anchor="trust",
        title="How far the numbers can be trusted",
        text=[*limits.provenance(study), *evaluation.sentence(cost)],
        grids=[grid for grid in grids if grid.rows],
        code=code,
    )
