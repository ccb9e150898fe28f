"""What the tables say, in sentences drawn from the numbers and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.cost_figures import by_label, chains, fits, usable
from ebmark.report.frames import Study
from ebmark.report.grid import records
from ebmark.report.tables import crossovers
from ebmark.report.targets import GOAL

FLAT = 0.1  # an exponent below it is called flat: a factor 1.5 over the range from d = 2 to 128


def growth(study: Study) -> str:
    """What a step costs at the largest d that most methods have a number for, and how that grows."""
    cost = study.cost[~study.cost["oracle"]]
    timed = len(usable(cost, "seconds")) > 0
    quantity = "seconds" if timed else "passes"
    rows = usable(cost, quantity)
    if rows.empty:
        return "No run finished from which the cost of a step could be read."
    methods = rows.groupby("dim")["label"].nunique()
    d, top = methods[methods == methods.max()].index.max(), cost["dim"].max()
    where = f"on {rows['dataset_label'].iloc[0]} with the network {rows['network'].iloc[0]}"
    at = rows[rows["dim"] == d]
    centre = np.exp(np.log(at[quantity]).groupby(at["label"], observed=True).mean())
    centre = centre.sort_values(kind="stable")
    show = words.seconds if timed else lambda x: f"{words.work(x)} F per point"
    ends = [
        f"{_with_interval(at, str(centre.index[i]), quantity, show)} ({_same(centre, i)})" for i in (0, -1)
    ]
    span = f"from {' to '.join(ends)}" if len(centre) > 1 else ends[0]
    lead = "" if timed else "No wall-clock can be trusted or compared here; counted in passes, "
    there = set(rows.loc[rows["dim"] == top, "label"])
    apart = [] if timed else [label for label, part in by_label(cost) if part["opposed"].any()]
    missing = [label for label, _ in by_label(cost) if label not in there and label not in apart]
    gap = f"; {words.listed(missing)} gave no number to compare at d = {top}" if missing else ""
    gap += f"; the passes of {words.listed(apart)} leave out an opponent" if apart else ""
    return _sentence(f"{lead}one step takes {span} at d = {d} {where}{gap}{_steepest(cost, quantity)}")


def _with_interval(at: DataFrame, label: str, quantity: str, show: Callable[[float], str]) -> str:
    """The geometric mean of a label's repeats, with its t interval where they differ and suffice."""
    values = at.loc[at["label"] == label, quantity].to_numpy(float)
    ends = stats.t_interval(values, log=True)
    text = show(float(ends.centre))
    lo, hi = show(float(ends.lo)), show(float(ends.hi))
    return text if len(values) < stats.MIN_SEEDS or lo == hi else f"{text} [{lo}, {hi}]"


def untimed(cost: DataFrame) -> list[str]:
    """Labels that were timed, but of which no timing may be compared."""
    timed = cost[cost["seconds"].notna()].groupby("label", observed=True)["trusted"].any()
    return [str(label) for label in timed.index[~timed]]


def _same(centre: DataFrame, place: int) -> str:
    """The labels within 1 % of the value at ``place``, three by name at most."""
    near = [str(label) for label in centre.index[np.isclose(centre, centre.iloc[place], rtol=0.01)]]
    return words.listed(near if len(near) < 4 else [*near[:2], f"{len(near) - 2} more"])


def _steepest(cost: DataFrame, quantity: str) -> str:
    known = {label: fit for label, fit in fits(cost)[quantity].items() if not np.isnan(fit.value)}
    what = "wall-clock" if quantity == "seconds" else "passes"
    if not known:
        return "; fewer than 3 dimensions: no growth can be stated"
    label, fit = max(known.items(), key=lambda item: item[1].value)
    if fit.hi < FLAT:
        return f"; in {what} no step grows by more than d^{FLAT}"
    flat = sum(fit.hi < FLAT for fit in known.values())
    if fit.lo <= 0:
        return f"; in {what} no step is shown to grow: the steepest is {label}, {words.exponent(fit)}"
    others = [other.hi for name, other in known.items() if name != label]
    leads = "grows fastest, as" if all(hi < fit.lo for hi in others) else "has the largest exponent,"
    text = f"; in {what} {label} {leads} {words.exponent(fit)} over {fit.sizes} sizes"
    met = [at for at in records(crossovers(cost).tidy) if at["label"] == label and at["quantity"] == quantity]
    met = sorted((at for at in met if at["measured"]), key=lambda at: float(at["dim"]))
    for at in met[-1:]:
        ends = f"[{words.number(at['lo'])}, {words.number(at['hi'])}]"
        text += f", and overtakes {at['chain']} at d = {words.number(at['dim'])} {ends}"
    return text + (f"; the growth stays below d^{FLAT} for {flat} of {len(known)} methods" if flat else "")


def sampling(study: Study) -> str:
    """Whether sampling dominates the step of the methods that run chains."""
    rows = chains(study.cost)
    if rows.empty:
        if study.trials["chain"].any():
            return "How much of a step sampling takes was not timed."
        return "No method in these tables runs Markov chains while it trains."
    timed = rows.groupby("dim")["label"].nunique()
    d = timed[timed == timed.max()].index.max()  # where the most of them can be compared
    at = rows[rows["dim"] == d]
    share = at.groupby("label", observed=True)["share"].mean().sort_values(kind="stable")
    over = [str(label) for label in share.index if share[label] > 0.5]
    ends = [f"{_share(at, str(share.index[i]))} ({share.index[i]})" for i in (0, -1)]
    span = " to ".join(ends[: len(share)])
    verdict = "dominates the step of each of these"
    if len(over) < len(share):
        verdict = f"takes more than half of the step only for {words.listed(over)}"
    if not over:
        verdict = "does not dominate the step of any of these"
    doubt = "" if rows["trusted"].any() else " (by timings that are not trusted)"
    text = f"Sampling takes {span} of the training time at d = {d}{doubt}: it {verdict}"
    if absent := sorted(set(study.cost.loc[study.cost["chain"], "label"]) - set(share.index)):
        text += f"; {words.listed(absent)} gave no number to compare there"
    return _sentence(text + _against_free(study))


def _share(at: DataFrame, label: str) -> str:
    """The mean share of a label's repeats, with its t interval where it is wider than a point."""
    values = at.loc[at["label"] == label, "share"].to_numpy(float)
    ends = stats.t_interval(values)
    text = words.percent(float(ends.centre))
    if len(values) < stats.MIN_SEEDS or float(ends.hi - ends.lo) < 0.01:
        return text
    return f"{text} [{100 * float(ends.lo):.0f}, {100 * float(ends.hi):.0f}]"


def drift(study: Study) -> str:
    """How the share of sampling changes with d."""
    rows = chains(study.cost)
    table = rows.pivot_table(index="label", columns="dim", values="share", observed=True)
    first, last = rows["dim"].min(), rows["dim"].max()
    if first == last:
        return f"Timed at d = {first} alone."
    change = 100 * (table[last] - table[first])
    span = f"{change.min():+.0f} to {change.max():+.0f} percentage points, depending on the method"
    if change.abs().max() < 1:
        span = "less than one percentage point"
    return f"From d = {first} to d = {last} the share changes by {span}."


def _against_free(study: Study) -> str:
    """Cost of a step with chains over the median one without, at the largest d that has both."""
    quantity = "seconds" if len(usable(study.cost, "seconds")) else "passes"
    rows = usable(study.cost, quantity)
    rows = rows[~rows["oracle"]]
    both = rows.groupby("dim")["chain"].nunique()
    if not (both == 2).any():
        return ""
    d = both[both == 2].index.max()
    means = rows[rows["dim"] == d].groupby(["label", "chain"], observed=True)[quantity].mean().reset_index()
    free = means[~means["chain"]]
    ratio = means[means["chain"]].set_index("label")[quantity] / free[quantity].median()
    span = f"{words.number(ratio.min())} ({ratio.idxmin()})"
    span += f" to {words.number(ratio.max())} ({ratio.idxmax()})" if len(ratio) > 1 else ""
    what = "wall-clock" if quantity == "seconds" else "passes"
    return f"; in {what} a step with chains costs {span} times the median step without them at d = {d}"


def reaching(runs: DataFrame, expected: DataFrame) -> str:
    """What it costs to reach the target with chains and without, where seeds suffice; else who reached it."""
    if expected.empty:
        return "The study sets no target quality, so what it costs to reach one is not stated."
    fair = expected[~expected["oracle"] & ~expected["own_noise"]]
    if fair["runs"].max() < stats.MIN_SEEDS:
        seeds = words.counted(int(fair["runs"].max()), "seed")
        hits = f"{int(fair['hits'].sum())} of {words.counted(int(fair['runs'].sum()), 'run')}"
        hits += " that do not start at the truth" * (len(fair) < len(expected))
        goals = words.listed(sorted(set(fair["goal"])))
        return f"With {seeds} per cell no ranking is claimed: {hits} reached {goals}."
    fair = fair[~fair["opposed"]]  # whose passes are not all of their work
    finite = fair[np.isfinite(fair["passes"])]
    kinds = finite.groupby([*GOAL, "dim"])["chain"].nunique()
    both = kinds[kinds == 2].reset_index()
    if finite.empty:
        return f"Nowhere did enough seeds reach {words.listed(sorted(set(fair['goal'])))}."
    if both.empty:
        share = f"{len(finite)} of {words.counted(len(fair), 'cell')}"
        return f"The target was reached by enough seeds in {share}, nowhere both with and without chains."
    sizes = both.groupby(GOAL)["dim"].transform("nunique")
    where = records(both.assign(sizes=sizes).sort_values(["sizes", "dim"])[[*GOAL, "dim"]])[-1]
    best = [_cheapest(finite[finite["chain"] == kind], where) for kind in (True, False)]
    named = [f"{one['label']} at {words.number(one['passes'])} F" for one in best]
    text = f"To reach {where['goal']} on {where['dataset_label']} at d = {where['dim']} the cheapest with "
    text += f"chains is {named[0]}, without them {named[1]}: {_ratio(runs, where, best)}"
    return _sentence(text + _everywhere(finite, both))


def _at(rows: DataFrame, where: dict[str, Any]) -> DataFrame:
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows


def _cheapest(finite: DataFrame, where: dict[str, Any]) -> dict[str, Any]:
    return records(_at(finite, where).sort_values("passes", kind="stable"))[0]


def _ratio(runs: DataFrame, where: dict[str, Any], best: list[dict[str, Any]]) -> str:
    """Ratio of the two costs; paired with its interval where every run of both reached the target."""
    text = f"a ratio of {words.number(best[0]['passes'] / best[1]['passes'])}"
    here = _at(runs, where)
    pair = [here[here["label"] == one["label"]].set_index("seed") for one in best]
    if not all(side["reached"].all() for side in pair):
        return f"{text}, failures charged"
    quotient = (pair[0]["cost_passes"] / pair[1]["cost_passes"]).dropna()
    ends = stats.t_interval(quotient.to_numpy(float), log=True)
    if len(quotient) < stats.MIN_SEEDS or ends.hi - ends.lo < 1e-9:
        return f"{text} ({words.counted(len(quotient), 'seed')}, read at the checkpoints)"
    interval = f"[{words.number(float(ends.lo))}, {words.number(float(ends.hi))}]"
    return f"{text} {interval} ({len(quotient)} seeds)"


def _everywhere(finite: DataFrame, both: DataFrame) -> str:
    """In how many of the cells that both kinds reach the cheapest method runs chains."""
    cheapest = finite.merge(both[[*GOAL, "dim"]]).sort_values("passes", kind="stable")
    with_chains = int(cheapest.drop_duplicates([*GOAL, "dim"])["chain"].sum())
    if len(both) == 1:  # the one just told
        return ""
    some = f"{with_chains or 'none'} of the {len(both)} cells"
    return f"; the cheapest method runs chains in {some} that both kinds reach"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
