"""The report put together, and the sections on data, diagnostics and trust."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from pandas import DataFrame

from ebmark import stats
from ebmark.report import (
    chain_figures,
    cost_figures,
    cost_sections,
    dataset_sections,
    evaluation,
    facts,
    first_screen,
    limits,
    method_tables,
    pareto,
    plane_sections,
    sample_figures,
    scaling_sections,
    stability,
    status_tables,
    targets,
    words,
)
from ebmark.report.evaluator_tables import evaluators
from ebmark.report.frames import Study
from ebmark.report.look import Look, Picture
from ebmark.report.section import ABSENT, LIMITS, Report, Section
from ebmark.report.tuning_section import tuning


def report(study: Study, look: Look) -> Report:
    """Everything the page shows."""
    runs = targets.runs(study)
    expected = targets.expected(runs) if len(runs) else DataFrame()
    target, cost = cost_sections.target(study, runs, expected, look), cost_sections.cost(study, look)
    found = scaling_sections.views(study)
    scaling, tuned = scaling_sections.section(found, look), tuning(study)
    evaluated, few = evaluators(study), study.seeds[0] < stats.MIN_SEEDS
    front = pareto.section(study, look)
    reached = [] if few else target.pictures
    steps, untimed = cost.pictures, not cost_figures.usable(study.cost, "seconds").size
    others = [*front.pictures, *steps] if untimed and not few else [*steps, *front.pictures]
    first = [*scaling.pictures, *reached, *others]
    sections = [
        *([scaling] if found else []),
        *([tuned] if tuned else []),
        cost,
        cost_sections.share(study, look),
        cost_sections.curves(study, look),
        target,
        cost_sections.quality(study),
        front,
        _real(study),
        stability.section(study),
        _diagnostics(study, look),
        plane_sections.section(study),
        _samples(study, look),
        dataset_sections.section(study, expected),
        _trust(study, evaluated),
    ]
    full, absent = _parted(sections)
    return Report(
        title=study.title,
        facts=first_screen.counts(study),
        answer=_answer(study, found, runs, expected),
        headline=first[0] if first else None,
        missing=first_screen.missing(study, expected, drawn=bool(found)),
        sections=[
            *full,
            *absent,
            Section(anchor=LIMITS, title="What the numbers do not say", text=limits.limits(study)),
        ],
    )


def _parted(sections: Sequence[Section]) -> tuple[list[Section], list[Section]]:
    """Those with something to show, and one that says why the others have nothing, where there are any."""
    full = [one for one in sections if one.pictures or one.grids or one.parts]
    texts = [f"{one.title}: {text}" for one in sections if one not in full for text in one.text]
    title = "What these tables do not have"
    return full, [Section(anchor=ABSENT, title=title, text=texts)] if texts else []


def _answer(
    study: Study, found: dict[str, scaling_sections.View], runs: DataFrame, expected: DataFrame
) -> list[tuple[str, str]]:
    """Three sentences: what a quality costs, what a step costs, how much of it is sampling."""
    quality = scaling_sections.answers(found)[:1]
    reached = ("Quality", pareto.answer(study)) if expected.empty else None
    return [
        *(quality or [reached or ("Cost to a target", facts.reaching(runs, expected))]),
        ("Cost of a step", facts.growth(study)),
        ("Sampling", facts.sampling(study)),
    ]


def _real(study: Study) -> Section:
    title, grid = "Real data against a fitted Gaussian", status_tables.real(study)
    if not grid.rows:
        return Section(anchor="real", title=title, text=["No likelihood on real data in these tables."])
    text = [
        f"On {data}, no method is shown to beat the Gaussian fitted by maximum likelihood."
        for data, part in grid.tidy.groupby("data")
        if not (part["kind"] == status_tables.BEATS).any()
    ]
    text += [
        f"{str(kind)[:1].upper()}{str(kind)[1:]} on {data}: {words.listed(part['label'].tolist())}."
        for (data, kind), part in grid.tidy.groupby(["data", "kind"])
    ]
    return Section(anchor="real", title=title, text=text, grids=[grid])


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
        data=sample_figures.floor_means(rows),
    )
    return Section(anchor="samples", title=title, pictures=[figure], grids=grids)


def _diagnostics(study: Study, look: Look) -> Section:
    title, grid = "Diagnostics of the chains and of the other methods", method_tables.diagnostics(study)
    if not grid.rows:
        none = "No method in these tables logged a diagnostic in a run that is ok."
        return Section(anchor="diagnostics", title=title, text=[none])
    rows = chain_figures.rows(study)
    pictures = []
    if len(rows):
        aim = "An acceptance far from its aim (0.574 for mala, 0.65 for hmc) means a bad step."
        figure = Picture(
            name="chains",
            alt="Acceptance, displacement and step of the training chains at the end of the runs, against d.",
            caption=f"On {rows['dataset_label'].iloc[0]}, means over the runs that are ok. {aim}{look.key}",
            draw=partial(chain_figures.draw, rows, look),
            data=rows,
        )
        pictures = [figure]
    return Section(anchor="diagnostics", title=title, pictures=pictures, grids=[grid])


def _trust(study: Study, evaluated: Section | None) -> Section:
    cost = evaluation.shares(study)
    known = evaluated.grids if evaluated else []
    grids = [*known, status_tables.distrust(study), cost, status_tables.environments(study)]
    code = json.dumps(study.spec, indent=1, ensure_ascii=False, default=str) if study.spec else ""
    return Section(
        anchor="trust",
        title="How far the numbers can be trusted",
        text=[*(evaluated.text if evaluated else []), *limits.provenance(study), *evaluation.sentence(cost)],
        grids=[grid for grid in grids if grid.rows],
        code=code,
    )
