"""The headline section: what a quality costs as d grows, at the methods' own rates and at the chosen ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import scaling, scaling_figure, scaling_tables, targets, words
from ebmark.report.frames import Study
from ebmark.report.grid import Grid, records
from ebmark.report.look import Look, Picture
from ebmark.report.scaling import BEST
from ebmark.report.section import Section

TITLE = "What a fixed quality costs as the dimension grows"
MOST = 4  # panels of the headline; the figure of all of them stands below
OWN, CHOSEN = "own", "tuned"
RATES = {OWN: "at the methods' own rates", CHOSEN: "at the best of the rates tried"}


@dataclass(frozen=True, kw_only=True)
class View:
    """The costs of a study at the methods' own rates, or at the chosen ones.

    Attributes:
        runs: from ``targets.runs``.
        expected: from ``targets.expected``.
        rows: those that may be compared.
        fits: their growth.
        quantity: seconds or passes.
    """

    runs: DataFrame
    expected: DataFrame
    rows: DataFrame
    fits: DataFrame
    quantity: str


def view(study: Study, quantity: str | None = None) -> View | None:
    """The costs, in ``quantity`` if given; None where there is nothing to compare over three dimensions."""
    runs = targets.runs(study)
    expected = targets.expected(runs) if len(runs) else DataFrame()
    if expected.empty:
        return None
    quantity = quantity or scaling.quantity(expected)
    rows = scaling.comparable(expected, quantity)
    if not scaling.panels(rows, 1) or not len(scaling.best_cd(rows)) or not len(scaling.free(rows)):
        return None
    fits = scaling.growth(runs, rows, quantity)
    return View(runs=runs, expected=expected, rows=rows, fits=fits, quantity=quantity)


def views(study: Study) -> dict[str, View]:
    """At the chosen rates, where the study tunes, and at the methods' own; empty where there is nothing."""
    own = view(study)
    best = view(study.tuned, own.quantity) if own and study.tuned else None
    return ({CHOSEN: best} if best else {}) | ({OWN: own} if own else {})


def section(found: dict[str, View], look: Look) -> Section:
    """Figures and tables of the ``views``, of which there may be none."""
    pictures: list[Picture] = []
    grids: list[Grid] = []
    for name, one in found.items():
        names = scaling.panels(one.rows, 99)
        if not pictures:  # the headline
            pictures.append(_picture(one, names[:MOST], name, look, whole=False))
            if len(names) <= MOST:
                continue
        pictures.append(_picture(one, names, name, look, whole=len(names) > MOST))
    for name, one in found.items():
        made = [
            scaling_tables.best_k(one.rows, one.quantity),
            scaling_tables.crossovers(scaling.versus(one.rows), one.quantity),
            scaling_tables.growth(one.fits, one.quantity),
            scaling_tables.parts(one.runs),
        ]
        grids += [
            replace(grid, name=f"{grid.name}_{name}", title=f"{grid.title}, {RATES[name]}")
            for grid in made
            if grid.rows
        ]
    return Section(
        anchor="scaling",
        title=TITLE,
        text=["A cell is a target on a data set at one dimension."],
        pictures=pictures,
        grids=grids,
    )


def _picture(one: View, names: list[tuple[str, str]], name: str, look: Look, *, whole: bool) -> Picture:
    return Picture(
        name=f"scaling_{name}{'_all' * whole}",
        alt=f"Expected cost to a fixed quality against the dimension, {RATES[name]}. {answer(one)}",
        caption=f"Expected cost in {targets.QUANTITIES[one.quantity]}, {RATES[name]}: that of all runs "
        "over the number that reached the target, failures charged. Thick: CD at the best of its "
        "settings, chosen at each d after the fact, its k below where it changes; thin: each setting of "
        "CD. Shaded: there CD is the cheapest of all. Beside a line of six sizes or more its exponent of d. "
        "Crosses at the top: too few runs reached it. Left out: who starts at the truth "
        f"(‡){', and in passes who has an opponent' * (one.quantity == 'passes')}.{look.key}",
        draw=partial(scaling_figure.draw, one.rows, one.fits, names, one.quantity, look),
        data=one.rows,
    )


def answers(found: dict[str, View]) -> list[tuple[str, str]]:
    """Leads and sentences of the answer, one per view."""
    return [(f"Cost to a quality, {RATES[name]}", answer(one)) for name, one in found.items()]


def answer(one: View) -> str:
    """CD at its best against the cheapest without chains: in how many cells, and one panel in numbers."""
    cells = scaling.leader(one.rows)
    mine, other = (np.isfinite(cells[name].to_numpy(float)) for name in ("cost_cd", "cost"))
    shared = cells[mine & other]
    wins, both = int((shared["cost_cd"] < shared["cost"]).sum()), words.counted(len(shared), "cell")
    alone = [
        (int((mine & ~other).sum()), "CD alone reaches"),
        (int((~mine & other).sum()), "only the others reach"),
    ]
    text = f"CD, at the best of its {cells['settings'].max()} settings in each cell, is cheaper than every "
    text += f"method without chains in {wins or 'none'} of the {both} that both reach"
    text += f"{_told(one, shared)}{''.join(f', {who} {n} more' for n, who in alone if n)}"
    return f"{text}; {_example(one, cells)}"


def _told(one: View, shared: DataFrame) -> str:
    """In how many of these cells paired intervals tell CD's best from the cheapest without chains."""
    found = (_ratio(one, (row["goal"], row["dataset_label"]), row) for row in records(shared))
    if not (ends := [interval for interval in found if interval is not None]):
        return " (no interval tells them apart)" * (len(shared) > 0)
    below, above = sum(float(i.hi) < 1 for i in ends), sum(float(i.lo) > 1 for i in ends)
    shown = f"cheaper in {below or 'none'} and dearer in {above or 'none'} of them"
    return f" (paired 95 % intervals, one by one, show it {shown})"


def _example(one: View, cells: DataFrame) -> str:
    """The first panel on which both reach two dimensions: ratios at its ends, growth and crossover.

    No growth is told from fewer than six sizes.
    """
    reached = cells[np.isfinite(cells["cost_cd"]) & np.isfinite(cells["cost"])]
    parts = ((at, _on(reached, *at)) for at in scaling.panels(one.rows, 99))
    at, part = next(((at, part) for at, part in parts if len(part) > 1), (("", ""), reached.iloc[:0]))
    if part.empty:
        return "nowhere do both reach a target at two dimensions."
    first, last = records(part)[0], records(part)[-1]
    ends = [
        f"{words.number(row['cost_cd'] / row['cost'])}{_interval(one, at, row)} times what {row['label']} "
        f"does at d = {row['dim']} (with {row['of']})"
        for row in (first, last)
    ]
    text = f"to reach {at[0]} on {at[1]} it costs {ends[0]} and {ends[1]}"
    if not all("] times" in end for end in ends):
        text += ", without an interval where a run failed or all seeds got there at one checkpoint"
    fits = _on(one.fits, *at).set_index("label")["fit"].to_dict()
    names = {BEST: "CD", str(last["label"]): str(last["label"])}
    known = [
        f"as {words.exponent(fits[who])} for {name}"
        for who, name in names.items()
        if who in fits and not fits[who].local
    ]
    text += f"; the cost goes {words.listed(known)}" if known else ""
    versus = _on(scaling.versus(one.rows), *at).set_index("label")
    meet = versus.loc[last["label"], "meet"]
    if meet is not None and meet.measured and np.isfinite(meet.hi):
        text += f", and they cost the same at d = {words.number(meet.dim)}"
        text += f" [{words.number(meet.lo)}, {words.number(meet.hi)}]"
    return f"{text}."


def _interval(one: View, at: tuple[str, str], row: dict[str, Any]) -> str:
    """The interval of the ratio as text; empty where there is none."""
    ends = _ratio(one, at, row)
    return "" if ends is None else f" [{words.number(float(ends.lo))}, {words.number(float(ends.hi))}]"


def _ratio(one: View, at: tuple[str, str], row: dict[str, Any]) -> stats.Interval | None:
    """The ratio of the two costs of a cell with its t interval on the log scale, paired by seed.

    None after a failed run, for few seeds or equal ratios.
    """
    here = _on(one.runs, *at)
    here = here[here["dim"] == row["dim"]]
    pair = [here[here["label"] == row[name]].set_index("seed") for name in ("of", "label")]
    if not all(side["reached"].all() for side in pair):
        return None
    quotient = (pair[0][f"cost_{one.quantity}"] / pair[1][f"cost_{one.quantity}"]).dropna()
    ends = stats.t_interval(quotient.to_numpy(float), log=True)
    return None if len(quotient) < stats.MIN_SEEDS or float(ends.hi - ends.lo) < 1e-9 else ends


def _on(frame: DataFrame, goal: str, dataset: str) -> DataFrame:
    return frame[(frame["goal"] == goal) & (frame["dataset_label"] == dataset)]
