"""Which rate of a method's ladder is the best: read from the tables, by the run and by the report alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pandas import DataFrame

from ebmark.trial import Trial

REAL = "nll"  # what a rate is chosen by where there is no truth


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A rate of the ladder.

    Attributes:
        factor: of the study's own rate; 1 where none could be chosen.
        value: of the metric at the chosen rate, NaN where none could be chosen.
        note: what a reader should know of it; empty for a plain best.
    """

    factor: float
    value: float = math.nan
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether a trial spoke for it."""
        return not math.isnan(self.value)


def metric_name(selector: str) -> str:
    """The name of a metric without settings and file, as the tables have it."""
    return selector.split("[")[0].rpartition(":")[-1].strip()


def candidates(trials: DataFrame, curve: DataFrame, by: str) -> DataFrame:
    """The trials that tune, with ``value``: the metric at their end, NaN where there is none to be trusted.

    Args:
        trials: a results folder's, with the columns of the schema.
        curve: likewise.
        by: name of the metric; on real data ``REAL`` stands for it.
    """
    found = trials[trials["lane"] == "tune"]
    rows = curve[curve["id"].isin(found["id"]) & curve["metric"].isin([by, REAL])]
    rows = rows[rows["step"] == rows.groupby("id")["step"].transform("max")]
    rows = rows.sort_values("metric", key=lambda metric: metric != by, kind="stable").drop_duplicates("id")
    rows = rows[rows["trusted"].fillna(value=False).astype(bool)]
    value = found["id"].map(rows.set_index("id")["value"]).astype(float)
    return found.assign(value=value.where(found["status"] == "ok"))


def choose(tried: DataFrame) -> Choice:
    """The factor with the smallest value; of equal ones the nearest to the study's own rate.

    Args:
        tried: the rows of one method and cell from ``candidates``.
    """
    if (tried["status"] == "skipped").all():
        return Choice(factor=1.0, note="declined")
    known = tried[tried["value"].notna()]
    if known.empty:
        return Choice(factor=1.0, note=_why_none(tried))
    best = float(known["value"].min())
    tied = sorted(known.loc[known["value"] == best, "rate_factor"], key=lambda f: (abs(math.log(f)), f))
    edge = tried["rate_factor"]
    notes = [f"tie of {len(tied)}"] if len(tied) > 1 else []
    notes += ["end of the ladder"] if tied[0] in (edge.min(), edge.max()) else []
    notes += [f"{len(tried) - len(known)} without a value"] if len(known) < len(tried) else []
    return Choice(factor=tied[0], value=best, note=", ".join(notes))


def _why_none(tried: DataFrame) -> str:
    """How the trials ended, none of which has a value: ``2 diverged, 2 not trusted``."""
    ends = tried["status"].replace("ok", "not trusted").value_counts(sort=False)
    return ", ".join(f"{n} {status}" for status, n in ends.sort_index().items())


def chooser(trials: DataFrame, curve: DataFrame, by: str) -> Callable[[Sequence[Trial]], float | None]:
    """For ``Study.tuned``: the chosen factor of a method and cell, None until all its rates were tried.

    Args:
        trials: a results folder's.
        curve: likewise.
        by: name of the metric.
    """
    rows = candidates(trials, curve, by).set_index("id")
    rows = rows[rows["status"] != "cancelled"]  # it will be run again

    def chosen(rates: Sequence[Trial]) -> float | None:
        ids = [trial.id for trial in rates]
        return choose(rows.loc[ids]).factor if rows.index.isin(ids).sum() == len(ids) else None

    return chosen
