"""The first screen beside the answer: how many trials and how they ended, and what the headline lacks."""

from __future__ import annotations

from pandas import DataFrame

from ebmark import stats
from ebmark.record import STATUSES
from ebmark.report import words
from ebmark.report.frames import Study
from ebmark.report.targets import GOAL


def counts(study: Study) -> str:
    """How many trials of what, and how they ended: the line below the title."""
    trials = study.trials
    ended = trials["status"].value_counts()
    states = ", ".join(f"{ended[name]:,} {name}" for name in STATUSES if name in ended)
    low, high = study.seeds
    seeds = words.counted(high, "seed") if low == high else f"{low} to {high} seeds"
    n = trials["label"].nunique()
    labels = "1 method" if n == 1 else f"{n} methods and settings"
    sets = words.counted(trials["dataset_label"].nunique(), "data set")
    text = f"{words.counted(len(trials), 'trial')}: {states}. {labels} on {sets}, {seeds} per cell."
    return f"{text}{_tuning(study)}"


def _tuning(study: Study) -> str:
    """What else was trained where rates are tuned; empty where none are."""
    if study.tuned is None:
        return ""
    chosen = study.tuned.trials[study.tuned.trials["rate_factor"] != 1]
    failed = int(study.choices["failed"].sum() + (~chosen["status"].isin(["ok", "skipped"])).sum())
    more = words.counted(int(study.choices["tried"].sum()) + len(chosen), "trial")
    return f" {more} more tuned the rates or ran at those chosen, of which {failed} failed."


def missing(study: Study, expected: DataFrame, *, drawn: bool) -> str:
    """Why the headline is not the cost to a quality over dimension; empty where it is (``drawn``)."""
    if drawn:
        return ""
    what = "What a fixed quality costs as the dimension grows is not shown here: "
    if not study.spec.get("target"):
        return f"{what}the study sets no target; a `[[target]]` table sets one."
    if expected.empty:
        return f"{what}no run has a value of the target's metric."
    if (seeds := study.seeds[1]) < stats.MIN_SEEDS:
        few = f"{words.counted(seeds, 'seed')} per cell {'is' if seeds == 1 else 'are'} too few for any claim"
        return f"{what}{few}; `--seeds 5` with the same `ebmark run` adds the others."
    sizes = expected.groupby(GOAL)["dim"].nunique().max()
    if sizes < 3:
        return f"{what}{words.counted(int(sizes), 'dimension')} of a target; three are needed."
    return f"{what}it takes two settings of CD or more beside a method without chains, over three dimensions."
