"""The tables for print of costs: of a step, of a target, and how they grow with the dimension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import targets, words
from ebmark.report.cost_figures import usable
from ebmark.report.frames import Study
from ebmark.report.grid import records
from ebmark.report.paper_numbers import Column, Entry, PaperTable
from ebmark.report.paper_parts import Notes, at, bolded, finished, is_bold, marked, of_label
from ebmark.report.targets import GOAL
from ebmark.stats import Exponent, Ranking


def step_cost(study: Study) -> PaperTable:
    """Methods x d: seconds of one step, timed alone."""
    rows = usable(study.cost, "seconds")
    labels = [label for label in study.labels if (study.cost["label"] == label).any()]
    notes, made = Notes(), []
    for d in sorted(rows["dim"].unique()):
        entries = [_step(of_label(study.cost[study.cost["dim"] == d], label), notes) for label in labels]
        made.append(Column(title=f"d = {d}", entries=entries))
    where = f"{rows['dataset_label'].iloc[0]}, network {rows['network'].iloc[0]}"
    caption = (
        f"Milliseconds of one training step on {where}; geometric mean ± standard error over runs timed "
        "alone and interleaved. Timings that were disturbed are left out."
    )
    return finished(study, "step_cost", caption, labels, made, notes)


def _step(part: DataFrame, notes: Notes) -> Entry:
    if part.empty:
        return Entry()
    known = np.log(1e3 * usable(part, "seconds")["seconds"].to_numpy(float))
    if not len(known):
        failed = part.loc[part["status"] != "ok", "status"]
        return Entry(marks=notes.letter(str(failed.iloc[0]) if len(failed) else "no undisturbed timing"))
    mean = float(np.exp(known.mean()))
    se = mean * known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
    return Entry(value=mean, se=float(se))


def to_target(study: Study, runs: DataFrame, quantity: str) -> PaperTable:
    """Methods x (data set, d): expected cost to the targets, failures charged."""
    runs = runs[runs[f"cost_{quantity}"].notna()]
    keys = [*GOAL, "dim"]
    columns = records(runs[keys].drop_duplicates().sort_values(keys))
    labels = [label for label in study.labels if (runs["label"] == label).any()]
    notes, made, ranks = Notes(), [], []
    for place in columns:
        here = at(runs, place)
        costs = here.assign(cost=here[f"cost_{quantity}"].where(here["reached"], np.inf))
        unfair = here["oracle"] | here["own_noise"] | (here["opposed"] & (quantity == "passes"))
        ranks.append(_cheapest(costs[~unfair], labels, quantity))
        entries = [
            _target(of_label(here, label), quantity, is_bold(ranks[-1], i), notes)
            for i, label in enumerate(labels)
        ]
        group = f"{place['dataset_label']}"
        made.append(Column(title=f"d = {place['dim']}", group=group, entries=entries))
    goals = targets.listed([tuple(place[name] for name in GOAL) for place in columns])
    unit = {"seconds": "seconds", "passes": "passes (forwards of the energy's network)"}[quantity]
    caption = (
        f"Expected cost in {unit} to reach {goals}: the cost of all runs over the number that reached it, "
        f"± standard error where all did. {bolded(ranks)} {marked(made)}"
    )
    return finished(study, f"target_{quantity}", caption, labels, made, notes)


def _target(part: DataFrame, quantity: str, bold: bool, notes: Notes) -> Entry:
    if part.empty:
        return Entry()
    marks = "‡" * bool(part["own_noise"].any())
    marks += "§" * bool(quantity == "passes" and part["opposed"].any())
    cost, reached = part[f"cost_{quantity}"].to_numpy(float), part["reached"].to_numpy(bool)
    if not reached.all():
        marks += notes.letter(f"reached by {int(reached.sum())} of {words.counted(len(reached), 'run')}")
    expected = float(stats.ert(cost, reached))
    if len(cost) < stats.MIN_SEEDS or not np.isfinite(expected):
        return Entry(marks=marks or notes.letter(f"{words.counted(len(cost), 'run')}: no cost is stated"))
    se = cost.std(ddof=1) / np.sqrt(len(cost)) if reached.all() else np.nan
    return Entry(value=expected, se=float(se), bold=bold, marks=marks)


def _cheapest(costs: DataFrame, labels: Sequence[str], quantity: str) -> Ranking:
    """Which labels may be bold: by expected cost, and tests of the costs, inf for a target not reached."""
    table = costs.pivot_table(
        index="label", columns="seed", values="cost", observed=True, dropna=False
    ).reindex(list(labels))
    values = table.to_numpy(float)
    centre = [
        float(stats.ert(own[f"cost_{quantity}"].to_numpy(float), own["reached"].to_numpy(bool)))
        if len(own := of_label(costs, label))
        else np.inf
        for label in labels
    ]
    return stats.best_by_test(values, centre=np.array(centre))


def growth(study: Study) -> PaperTable:
    """Methods x (wall-clock, passes): the exponent of the cost of a step in d with its interval."""
    names = {"seconds": "wall-clock", "passes": "passes"}
    labels = [label for label in study.labels if (study.cost["label"] == label).any()]
    made = []
    for quantity, name in names.items():
        shown = usable(study.cost, quantity)
        fits = [_fit(of_label(shown, label), quantity) for label in labels]
        made.append(Column(title="exponent", group=name, entries=[_exponent(fit) for fit in fits]))
        made.append(Column(title="95 %", group=name, entries=[_interval(fit) for fit in fits]))
    sizes = sorted(study.cost["dim"].unique())
    caption = (
        f"Growth of the cost of a step, as d to this exponent over d = {sizes[0]} to {sizes[-1]} "
        f"({len(sizes)} sizes); least squares on the means of the log cost per d, with Student's interval. "
        "l: fewer than six sizes, the local slope. No law is meant by an exponent."
    )
    return finished(study, "growth", caption, labels, made, Notes())


def _fit(rows: DataFrame, quantity: str) -> Exponent:
    return stats.scaling_exponent(rows["dim"].to_numpy(float), rows[quantity].to_numpy(float))


def _exponent(fit: Exponent) -> Entry:
    if np.isnan(fit.value):
        return Entry()
    return Entry(text=_two(fit.value), marks="l" * fit.local)


def _interval(fit: Exponent) -> Entry:
    return Entry() if np.isnan(fit.value) else Entry(text=f"[{_two(fit.lo)}, {_two(fit.hi)}]")


def _two(x: float) -> str:
    return f"{round(x, 2) + 0.0:.2f}"
