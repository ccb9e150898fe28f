"""The tables for print: all that a study has numbers for, and the quality reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import paper_costs, targets, words
from ebmark.report.cost_figures import usable
from ebmark.report.frames import Study, finals
from ebmark.report.grid import records
from ebmark.report.paper_numbers import Column, Entry, PaperTable
from ebmark.report.paper_parts import Notes, at, bolded, finished, is_bold, marked, of_label
from ebmark.stats import Ranking

CELL = ["dataset_label", "dim"]
OF_STEPS = ("step_cost", "growth")  # tables that no learning rate changes
PER_DIM = ("fisher",)  # shown per dimension
POSITIVE = ("fisher", "log_density_mse", "sliced_wasserstein")  # compared as ratios


def every(study: Study) -> list[PaperTable]:
    """All tables that the study has numbers for."""
    metrics = [name for name in words.NAMES if len(finals(study, name))]
    found = [quality(study, metric) for metric in metrics]
    found += [paper_costs.step_cost(study)] if len(usable(study.cost, "seconds")) else []
    runs = targets.runs(study)
    if len(runs):
        known = [name for name in ("seconds", "passes") if runs[f"cost_{name}"].notna().any()]
        found += [paper_costs.to_target(study, runs, name) for name in known]
    found += [paper_costs.growth(study)] if study.cost["dim"].nunique() >= stats.MIN_SEEDS else []
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
        here, ended = (at(rows, place) for rows in (trials, final))
        rank = _ranked(here, ended, labels, value, log=metric in POSITIVE, more=metric in words.HIGHER)
        ranks.append(rank)
        entries = [
            _quality(of_label(here, label), of_label(ended, label), value, is_bold(rank, i), notes)
            for i, label in enumerate(labels)
        ]
        made.append(Column(title=f"d = {place['dim']}", group=str(place["dataset_label"]), entries=entries))
    title = words.titled(metric, per_dim=per_dim)
    sense = ", higher is better" if metric in words.HIGHER else ""
    caption = f"{title}{sense}; mean ± standard error over seeds. {bolded(ranks)} {marked(made)}"
    return finished(study, f"quality_{metric}", caption, labels, made, notes)


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
