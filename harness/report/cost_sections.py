"""The sections on cost and quality: their sentences, figures and tables, and what is missing."""

from __future__ import annotations

from functools import partial

from pandas import DataFrame

from ebmark import stats
from ebmark.report import (
    cost_figures,
    facts,
    method_tables,
    part_figures,
    quality_figures,
    tables,
    target_tables,
    targets,
    words,
)
from ebmark.report.frames import Study, finals
from ebmark.report.look import Look, Picture
from ebmark.report.section import Section


def cost(study: Study, look: Look) -> Section:
    """Figure and exponents of the cost of a step."""
    title, cost = "What a step costs as the dimension grows", study.cost
    if cost["passes"].notna().sum() == 0:
        return Section(anchor="cost", title=title, text=["No run finished from which a cost could be read."])
    text = []
    if study.trials["lane"].eq("cost").sum() == 0:
        text.append("No cost lane: passes come from the quality lane, and wall-clock is not compared.")
    elif cost_figures.usable(cost, "seconds").empty:
        text.append(
            "No timing of the cost lane is trusted: open marks, no exponents. `ebmark doctor` "
            "says what disturbs; on an idle machine `ebmark run SPEC --rerun all` measures again."
        )
    elif doubtful := facts.untimed(cost):
        text.append(f"No timing of {words.listed(doubtful)} is trusted: open marks, no exponents in time.")
    seen = f"{cost['dataset_label'].iloc[0]}, network {cost['network'].iloc[0]}"
    figure = Picture(
        name="step_cost",
        alt=f"Cost of a training step against the dimension, log-log, on {seen}. {facts.growth(study)}",
        caption=f"On {seen}. Geometric means with t intervals; marks of different methods are moved apart "
        "sideways. Crosses at the top: no run was ok there. Open: timings that are not trusted, "
        f"and passes beside which an opponent works whose own are not in F.{look.key}",
        draw=partial(cost_figures.step_cost, cost, look),
        data=cost_figures.means(cost),
    )
    phases = part_figures.parts(cost)
    pictures = [figure, *([_parts(phases, seen)] if len(phases) else [])]
    grids = [
        tables.exponents(cost),
        part_figures.table(phases),
        tables.crossovers(cost),
        method_tables.opponents(study),
    ]
    return Section(
        anchor="cost", title=title, text=text, pictures=pictures, grids=[g for g in grids if g.rows]
    )


def _parts(phases: DataFrame, seen: str) -> Picture:
    d = phases["d"].iloc[0]
    return Picture(
        name="step_parts",
        alt=f"Shares of a training step by phase at d = {d}, a bar per method: sampling, loss, "
        "backward pass and optimiser; at its end the seconds of the step.",
        caption=f"On {seen}, at d = {d}: means over the trusted timings. Making batches is outside.",
        draw=partial(part_figures.draw, phases),
        data=phases,
    )


def share(study: Study, look: Look) -> Section:
    """How much of a step is sampling."""
    title, found = "How much of a step is sampling", facts.sampling(study)
    if cost_figures.chains(study.cost).empty:
        return Section(anchor="sampling", title=title, text=[found])
    figure = Picture(
        name="sampling_share",
        alt=f"Share of the training time inside samplers, against k and against d. {found}",
        caption=f"Seconds inside samplers over all seconds of training. The grey line is one half.{look.key}",
        draw=partial(cost_figures.sampling_share, study.cost, look),
        data=cost_figures.share_means(study.cost),
    )
    return Section(anchor="sampling", title=title, text=[facts.drift(study)], pictures=[figure])


def curves(study: Study, look: Look) -> Section:
    """Quality against passes and against time."""
    title = "Quality along the run"
    metric, rows = quality_figures.curves(study)
    if rows.empty:
        none = "No trusted Fisher or KL divergence was measured along a run."
        return Section(anchor="quality", title=title, text=[none])
    few = ", the range below 3 seeds" if study.seeds[0] < stats.MIN_SEEDS else ""
    bands = (
        f"bands: Student's 95 % interval over seeds on the log scale{few}, left out beyond a factor of 100"
    )
    caption = (
        f"Geometric means; {'no bands, for so many methods' if look.by_family else bands}. A cross ends a "
        f"run that failed; behind it the mean is that of the others.{look.key}"
    )
    if opposed := sorted(set(rows.loc[rows["opposed"], "label"])):
        caption += f" The passes of {words.listed(opposed)} leave out an opponent."
    pictures = []
    for work, axis in quality_figures.WORK.items():
        if rows[work].notna().any():
            draw = partial(quality_figures.anytime, rows, metric, work, look)
            alt = f"{words.named(metric, per_dim=True)} against {axis}, per data set, smallest and largest d."
            data = quality_figures.band_means(rows[rows[work].notna()], work)
            pictures.append(Picture(name=f"quality_{work}", alt=alt, caption=caption, draw=draw, data=data))
    text = []
    if len(pictures) > 1:
        text.append(f"{targets.TIME} Never the clock of packed runs.")
    if pictures[1:] and (untimed := sorted(rows.loc[rows["seconds_cost"].isna(), "dataset_label"].unique())):
        text.append(
            f"No trusted cost of a step for some cells of {words.listed(untimed)}: not shown in time."
        )
    if left := [name for (name,) in quality_figures.drawn(rows, ["dataset_label"])[1]]:
        text.append(f"Not drawn, for room: {words.listed(left)}; the tables below have them.")
    return Section(anchor="quality", title=title, text=text, pictures=pictures)


def target(study: Study, runs: DataFrame, expected: DataFrame, look: Look) -> Section:
    """What it costs to reach the study's targets."""
    title = "What it costs to reach a quality"
    if expected.empty:
        text = ["No target in the study; a `[[target]]` table in it sets one."]
        if study.spec.get("target"):
            text = ["No run has a value of the target's metric."]
        return Section(anchor="target", title=title, text=text)
    figure = Picture(
        name="target_cost",
        alt=f"Expected cost to reach the target against the dimension. {facts.reaching(runs, expected)}",
        caption="Expected cost: that of all runs over the number that reached the target. Read at the first "
        "checkpoint at or below it, so an upper bound. Marked ‡ or § in the table: not comparable. "
        "Crosses: too few seeds reached it. With fewer than 3 seeds: one open mark per run "
        f"that did, and no claim. {targets.TIME}{look.key}",
        draw=partial(quality_figures.target_cost, runs, expected, look),
        data=expected,
    )
    grids = [
        target_tables.reached(expected, quantity)
        for quantity in targets.QUANTITIES
        if expected[quantity].notna().any()
    ]
    growth = target_tables.growth(targets.exponents(expected))
    grids += [growth] if growth.rows else []
    left = targets.listed(quality_figures.drawn(expected, targets.GOAL)[1])
    text = [f"Not drawn, for room or for want of a second dimension: {left}."] if left else []
    return Section(anchor="target", title=title, text=text, pictures=[figure], grids=grids)


def quality(study: Study) -> Section:
    """The tables of what was reached."""
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
