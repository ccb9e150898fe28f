"""On which machines the times of a study were taken: those of one kind compare, others are set apart."""

from __future__ import annotations

from collections import Counter

import pandas as pd

KIND = ["cpu", "cores", "gpu"]  # of equal ones seconds are about the same
OTHER = "timed on another kind of machine than most of the lane: run the study on one with --rerun all"


def doubt_others(trials: pd.DataFrame, env: pd.DataFrame) -> None:
    """Of the cost lane only rows from the kind of machine that has most of it are left to be compared."""
    timed = trials[(trials["lane"] == "cost") & (trials["status"] == "ok")]
    kinds = dict(zip(env["env"], zip(*(env[name] for name in KIND), strict=True), strict=True))
    kind = [kinds.get(name) for name in timed["env"]]
    if len(set(kind)) < 2:
        return
    most = Counter(kind).most_common(1)[0][0]
    other = timed.index[[one != most for one in kind]]
    trials.loc[other, "trusted"] = False
    trials.loc[other, "distrust"] = OTHER
