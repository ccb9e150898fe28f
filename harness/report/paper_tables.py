"""The tables for print: quality reached, cost of a step, cost to a target, growth with the dimension."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import targets, words
from ebmark.report.cost_figures import usable
from ebmark.report.frames import Study, finals
from ebmark.report.grid import records
from ebmark.report.paper_latex import Column, Entry, PaperTable
from ebmark.report.targets import GOAL
from ebmark.stats import Exponent, Ranking

CELL = ["dataset_label", "dim"]
OF_STEPS = ("step_cost", "growth")  # tables that no learning rate changes
PER_DIM = ("fisher",)  # shown per dimension
POSITIVE = ("fisher", "log_density_mse", "sliced_wasserstein")  # compared as ratios
BOLD = (
    "Bold: the best, and what a signed-rank test with Holm's adjustment does not tell from it at 5 % over "
    "the paired seeds."
)
UNTRUSTED = "†: a check failed; its interval, never ranked."
OWN = "‡: the method starts at the truth there; never ranked."
UNCOUNTED = "§: the work of its opponent is not counted."


def about(study: Study) -> str:
    """Seeds, date and code of the results, for every caption."""
    low, high = study.seeds
    seeds = f"n={high}" if low == high else f"n={low} to {high}"
    dates = study.trials["finished"].dropna()
    when = f", run up to {dates.max():%Y-%m-%d}" if len(dates) else ""
    return f"{study.title}: {seeds} {'seed' if high == 1 else 'seeds'}{when}."


class Notes:
    """Letters of the notes of a table: one per text, in the order of their first use."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """The letter of this text; after z nothing more is told apart."""
        return self._letters.setdefault(text, string.ascii_lowercase[min(len(self._letters), 25)])

    @property
    def texts(self) -> dict[str, str]:
        """Text by letter."""
        return {letter: text for text, letter in self._letters.items()}


def every(study: Study) -> list[PaperTable]:
    """All tables that the study has numbers for."""
    metrics = [name for name in words.NAMES if len(finals(study, name))]
    found = [quality(study, metric) for metric in metrics]
    found += [step_cost(study)] if len(usable(study.cost, "seconds")) else []
    runs = targets.runs(study)
    if len(runs):
        known = [name for name in ("seconds", "passes") if runs[f"cost_{name}"].notna().any()]
        found += [to_target(study, runs, name) for name in known]
    found += [growth(study)] if study.cost["dim"].nunique() >= stats.MIN_SEEDS else []
    return [table for table in found if table.rows]


def quality(study: Study, metric: str) -> PaperTable:
    """Methods x (data set, d): mean and standard error of the metric at the end of the runs."""
    final = finals(study, metric)
    per_dim = metric in PER_DIM
    value = "per_dim" if per_dim else "value"
    columns = final[CELL].drop_duplicates().sort_values(CELL)
    trials = study.quality.merge(columns, on=CELL)
    trials = trials[~trials["status"].isin(["skipped", "cancelled"])]
    labels = [label for label in study.labels if (trials["label"] == label).any()]
    notes, made, ranks = Notes(), [], []
    for place in records(columns):
        here, ended = (_at(rows, place) for rows in (trials, final))
        rank = _ranked(here, ended, labels, value, log=metric in POSITIVE, more=metric in words.HIGHER)
        ranks.append(rank)
        entries = [
            _quality(_label(here, label), _label(ended, label), value, _bold(rank, i), notes)
            for i, label in enumerate(labels)
        ]
        made.append(Column(title=f"d = {place['dim']}", group=str(place["dataset_label"]), entries=entries))
    title = words.titled(metric, per_dim=per_dim)
    sense = ", higher is better" if metric in words.HIGHER else ""
    caption = f"{title}{sense}; mean ± standard error over seeds. {_bolded(ranks)} {_marked(made)}"
    return _table(study, f"quality_{metric}", caption, labels, made, notes)


def _quality(here: DataFrame, ended: DataFrame, value: str, bold: bool, notes: Notes) -> Entry:
    """One method in one cell: its runs, of which some have ended."""
    if here.empty:
        return Entry()
    marks = "‡" * bool(here["own_noise"].any()) + "§" * bool(here["uncounted"].any())
    failed = here.loc[here["status"] != "ok", "status"].value_counts().sort_index()
    if len(failed):
        told = ", ".join(f"{n} {status}" for status, n in failed.items())
        marks += notes.letter(f"{told} of {words.counted(len(here), 'run')}")
    known = ended[value].dropna()
    if known.empty:
        return Entry(marks=marks or notes.letter("no value"))
    if not ended["trusted"].all():
        scale = ended["dim"] if value == "per_dim" else 1
        lo, hi = (ended["lo"] / scale).min(), (ended["hi"] / scale).max()
        mean = float(known.mean())
        text = f"[{words.number(lo, 3)}, {words.number(hi, 3)}]" if np.isfinite(hi - lo) else ""
        return Entry(value=np.nan if text else mean, text=text, marks=f"†{marks}")
    se = known.std() / np.sqrt(len(known)) if len(known) > 1 else np.nan
    return Entry(value=float(known.mean()), se=float(se), bold=bold, marks=marks)


def _ranked(
    here: DataFrame, ended: DataFrame, labels: Sequence[str], value: str, *, log: bool, more: bool
) -> Ranking:
    """Which labels may be bold: among those all of whose runs ended, are trusted and start nowhere near."""
    barred = here[["oracle", "own_noise", "uncounted"]].any(axis=1) | (here["status"] != "ok")
    bad = set(here.loc[barred, "label"]) | set(ended.loc[~ended["trusted"], "label"])
    table = ended[~ended["label"].isin(bad)].pivot_table(
        index="label", columns="seed", values=value, observed=True, dropna=False
    )
    values = table.reindex(list(labels)).to_numpy(float)
    if log and not (values[~np.isnan(values)] > 0).all():
        log = False
    return stats.best_by_test(-values if more else values, log=log and not more)


def step_cost(study: Study) -> PaperTable:
    """Methods x d: seconds of one step, timed alone."""
    rows = usable(study.cost, "seconds")
    labels = [label for label in study.labels if (study.cost["label"] == label).any()]
    notes, made = Notes(), []
    for d in sorted(rows["dim"].unique()):
        entries = [_step(_label(study.cost[study.cost["dim"] == d], label), notes) for label in labels]
        made.append(Column(title=f"d = {d}", entries=entries))
    where = f"{rows['dataset_label'].iloc[0]}, network {rows['network'].iloc[0]}"
    caption = (
        f"Milliseconds of one training step on {where}; geometric mean ± standard error over runs timed "
        "alone and interleaved. Timings that were disturbed are left out."
    )
    return _table(study, "step_cost", caption, labels, made, notes)


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
        here = _at(runs, place)
        costs = here.assign(cost=here[f"cost_{quantity}"].where(here["reached"], np.inf))
        unfair = here["oracle"] | here["own_noise"] | (here["opposed"] & (quantity == "passes"))
        ranks.append(_cheapest(costs[~unfair], labels, quantity))
        entries = [
            _target(_label(here, label), quantity, _bold(ranks[-1], i), notes)
            for i, label in enumerate(labels)
        ]
        group = f"{place['dataset_label']}"
        made.append(Column(title=f"d = {place['dim']}", group=group, entries=entries))
    goals = targets.listed([tuple(place[name] for name in GOAL) for place in columns])
    unit = {"seconds": "seconds", "passes": "passes (forwards of the energy's network)"}[quantity]
    caption = (
        f"Expected cost in {unit} to reach {goals}: the cost of all runs over the number that reached it, "
        f"± standard error where all did. {_bolded(ranks)} {_marked(made)}"
    )
    return _table(study, f"target_{quantity}", caption, labels, made, notes)


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
        if len(own := _label(costs, label))
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
        fits = [_fit(_label(shown, label), quantity) for label in labels]
        made.append(Column(title="exponent", group=name, entries=[_exponent(fit) for fit in fits]))
        made.append(Column(title="95 %", group=name, entries=[_interval(fit) for fit in fits]))
    sizes = sorted(study.cost["dim"].unique())
    caption = (
        f"Growth of the cost of a step, as d to this exponent over d = {sizes[0]} to {sizes[-1]} "
        f"({len(sizes)} sizes); least squares on the means of the log cost per d, with Student's interval. "
        "l: fewer than six sizes, the local slope. No law is meant by an exponent."
    )
    return _table(study, "growth", caption, labels, made, Notes())


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


def _at(rows: DataFrame, place: dict[str, Any]) -> DataFrame:
    for name, value in place.items():
        rows = rows[rows[name] == value]
    return rows


def _label(rows: DataFrame, label: str) -> DataFrame:
    return rows[rows["label"] == label]


def _bold(rank: Ranking, i: int) -> bool:
    return rank.best == i or bool(rank.ties[i])


def _bolded(ranks: Sequence[Ranking]) -> str:
    """What bold means in the table, or why nothing is bold."""
    if any(rank.best is not None for rank in ranks):
        return BOLD
    notes = sorted({rank.note for rank in ranks})
    return f"Nothing is bold: {'; '.join(notes)}."


def _marked(columns: Sequence[Column]) -> str:
    """What the signs in the table mean, those it has."""
    marks = {mark for column in columns for entry in column.entries for mark in entry.marks}
    texts = {"†": UNTRUSTED, "‡": OWN, "§": UNCOUNTED}
    return " ".join(text for mark, text in texts.items() if mark in marks)


def _table(
    study: Study, name: str, caption: str, labels: Sequence[str], columns: Sequence[Column], notes: Notes
) -> PaperTable:
    text = f"{' '.join(caption.split())} {about(study)}"
    return PaperTable(name=name, caption=text, rows=labels, columns=columns, notes=notes.texts)
