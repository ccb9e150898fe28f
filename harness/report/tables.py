"""Tables of cost and quality."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.record import NO_FAILURE, STATUSES
from ebmark.report import words
from ebmark.report.cost_figures import PANELS, by_label, fits, usable
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Cell, Grid, cells, records

MARKS = (
    "Bold: smallest mean; ≈: cannot be told from it, by paired intervals over seeds that hold jointly with "
    "95 % and are wide for few seeds; *: a signed-rank test tells it from every other (6 seeds or more). "
)
NOT_COUNTED = " §: its budget is in passes, which leave out the work of its opponent: never called best."
STEP_GROWTH = (
    "Exponent of d by least squares on the means per dimension, with Student's 95 % interval; “local”: fewer "
    "than 6 sizes, no more than the slope over the measured range. A law is named from 10 sizes on: the best "
    "by AICc of a constant, a power, an exponential and a + b d^c, where every other is at least 2 behind. "
    "It holds in the measured range. –: nothing that may be compared."
)
CELL = ["dataset_label", "dim"]
ORDER = [*STATUSES]


def exponents(cost: DataFrame) -> Grid:
    """Growth of the cost of a step with d, and the cost at the largest d, by label."""
    fitted, rows, tidy, laws = fits(cost), [], [], {}
    for label, part in by_label(cost):
        row = [label]
        for quantity in PANELS:
            shown = usable(part, quantity)
            largest = shown["dim"].max() if len(shown) else 0
            at = shown.loc[shown["dim"] == largest, quantity]
            fit = fitted[quantity].get(label)
            text = words.seconds if quantity == "seconds" else words.work
            value = float(np.exp(np.log(at).mean())) if len(at) else np.nan
            row += [words.exponent(fit) if fit else "–", f"{text(value)} (d = {largest})" if len(at) else "–"]
            if fit:
                d, cost_ = (shown[name].to_numpy(float) for name in ("dim", quantity))
                found = stats.law(d, cost_)
                laws[label, quantity] = words.law(found)
                more = {"law": found.name, "law_c": found.c, "law_lo": found.lo, "law_hi": found.hi}
                named = {"label": label, "quantity": quantity}
                tidy.append({**named, **vars(fit), "d": largest, "cost": value, **more})
        failed = part.loc[~part["status"].isin(NO_FAILURE), "status"].value_counts()
        row.append(", ".join(f"{n} {status}" for status, n in failed.items()) or "0")
        rows.append(cells(*row, *(laws.get((label, quantity), "–") for quantity in PANELS)))
    head = ["method", "wall-clock grows as", "one step", "passes grow as", "passes per point", "failed"]
    head += ["law of the wall-clock", "law of the passes"]
    told = [i for i in range(len(head)) if i == 0 or any(row[i].text != "–" for row in rows)]
    return Grid(
        name="exponents",
        title="Growth of the cost of a step",
        caption=STEP_GROWTH,
        head=[head[i] for i in told],
        rows=[[row[i] for i in told] for row in rows],
        tidy=DataFrame(tidy),
    )


def crossovers(cost: DataFrame) -> Grid:
    """Dimensions at which a method without chains becomes dearer or cheaper than one with them."""
    cost = cost[~cost["oracle"]]
    chain = set(cost.loc[cost["chain"], "label"])
    rows, tidy = [], []
    for quantity, title in PANELS.items():
        shown = usable(cost, quantity)
        logs = shown.assign(log=np.log(shown[quantity]))
        table = logs.pivot_table(index="dim", columns="label", values="log", observed=True)
        dims = table.index.to_numpy(float)
        curves = {str(label): np.exp(table[label].to_numpy(float)) for label in table.columns}
        for a, b in product((x for x in curves if x in chain), [x for x in curves if x not in chain]):
            at = stats.crossover(dims, curves[b], curves[a])
            if at is None or not np.isfinite(at.hi):
                continue
            note = "" if at.measured else " (extrapolated)"
            text = f"{words.number(at.dim)} [{words.number(at.lo)}, {words.number(at.hi)}]{note}"
            rows.append(cells(b, a, title, text))
            tidy.append({"label": b, "chain": a, "quantity": quantity, **vars(at)})
    caption = (
        "Where the fitted lines of two methods meet, with Fieller's 95 % interval; only up to twice the "
        "largest measured dimension, and only where the slopes can be told apart."
    )
    head = ["method without chains", "method with chains", "cost", "equal at d ="]
    return Grid(
        name="crossovers",
        title="Where two methods cost the same",
        caption=caption,
        head=head,
        rows=rows,
        tidy=DataFrame(tidy),
    )


def quality(study: Study, metric: str, *, per_dim: bool, log: bool) -> Grid:
    """Methods x (data set, dimension): mean and standard error of the final value of ``metric``."""
    value = "per_dim" if per_dim else "value"
    final = finals(study, metric)
    columns = final[CELL].drop_duplicates().sort_values(CELL)
    trials = study.quality.merge(columns, on=CELL)
    tidy = _tidy(final, value, trials)
    grid = {
        (str(row["label"]), row["dataset_label"], row["dim"]): Cell(text=_text(row)) for row in records(tidy)
    }
    keys = [(row["dataset_label"], row["dim"]) for row in records(columns)]
    for dataset, d in keys:
        here = (final["dataset_label"] == dataset) & (final["dim"] == d)
        _mark(grid, final[here], trials, value, log=log)
    labels = list(dict.fromkeys(label for label, _, _ in grid))
    missing = Cell(text="not run")
    rows = [[Cell(text=label), *(grid.get((label, *key), missing) for key in keys)] for label in labels]
    head = ["method", *(f"{dataset}, d = {d}" for dataset, d in keys)]
    return Grid(
        name=f"quality_{metric}",
        title=words.titled(metric, per_dim=per_dim),
        caption=_quality_caption(study),
        head=head,
        rows=rows,
        tidy=tidy,
    )


def _quality_caption(study: Study) -> str:
    seeds = study.seeds[1]
    ranks = MARKS if seeds >= stats.MIN_SEEDS else "Fewer than 3 seeds: nothing is ranked. "
    here, own = (
        study.quality,
        " ‡: the method's noise is the truth on that data, or its opponent starts there.",
    )
    return (
        f"Mean ± standard error over seeds (with one seed, of the evaluation). {ranks}"
        "[ ]†: untrusted, never ranked; the interval that holds those of all seeds, where there are any. "
        f"Failed runs are counted in the cell and never enter a mean.{own * bool(here['own_noise'].any())}"
        f"{' mle is an oracle, not a contender.' * bool(here['oracle'].any())}"
        f"{NOT_COUNTED * bool(here['uncounted'].any())}"
    )


def _tidy(final: DataFrame, value: str, trials: DataFrame) -> DataFrame:
    keys = ["label", *CELL]
    scale = final["dim"] if value == "per_dim" else 1
    values = (
        final.assign(**{name: final[name] / scale for name in ("se", "lo", "hi")})
        .groupby(keys, observed=True)
        .agg(
            mean=(value, "mean"),
            sd=(value, "std"),
            n=(value, "count"),
            trusted=("trusted", "all"),
            one=("se", "mean"),
            lo=("lo", "min"),
            hi=("hi", "max"),
        )
    )
    se = (values["sd"] / np.sqrt(values["n"])).where(values["n"] > 1, values["one"])
    counts = trials.groupby([*keys, "status"], observed=True).size().unstack(fill_value=0)
    other = [name for name in ORDER[1:] if name in counts]
    flags = trials.groupby(keys, observed=True)[["own_noise", "oracle", "uncounted"]].any()
    table = flags.join(values[["mean", "n", "trusted", "lo", "hi"]]).join(se.rename("se")).join(counts[other])
    return table.fillna({"n": 0, "trusted": False}).reset_index()


def _text(row: dict[str, Any]) -> str:
    failed = ", ".join(f"{row[name]} {name}" for name in ORDER[1:] if row.get(name, 0))
    if not row["n"]:
        return failed or "no value"
    text = words.measured(row["mean"], row["se"], row["lo"], row["hi"], trusted=row["trusted"])
    text += "‡" * row["own_noise"] + "§" * row["uncounted"]
    return f"{text} ({failed})" if failed else text


def _mark(
    grid: dict[tuple[str, str, int], Cell], part: DataFrame, trials: DataFrame, value: str, *, log: bool
) -> None:
    """Bold and ties of one cell of the study, among the methods none of whose runs failed or is untrusted.

    Left out too: the oracle, who starts at the truth (‡), and who spent more than the others (§).
    """
    if part.empty:
        return
    dataset, d = part["dataset_label"].iloc[0], part["dim"].iloc[0]
    here = trials[(trials["dataset_label"] == dataset) & (trials["dim"] == d) & ~trials["oracle"]]
    bad = {*here.loc[here["status"] != "ok", "label"], *part.loc[~part["trusted"], "label"]}
    rows = part[~part["label"].isin(bad) & ~part[["oracle", "own_noise", "uncounted"]].any(axis=1)]
    table = rows.pivot_table(index="label", columns="seed", values=value, observed=True, dropna=False)
    table = table.loc[table.notna().any(axis=1)] if len(table) else table
    if table.empty or (log and not (table.min().min() > 0)):
        return
    shared = table.loc[:, table.notna().all()]
    rank = stats.best_and_ties(shared.to_numpy(), log=log)
    if rank.best is None:
        return
    for i, label in enumerate(shared.index):
        key = (str(label), dataset, d)
        star = " *" if rank.star and i == rank.best else ""
        grid[key] = Cell(text=grid[key].text + star, best=i == rank.best, tie=bool(rank.ties[i]))
