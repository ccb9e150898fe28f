"""Tables of what failed, what is not trusted, what real data say, and on which machine."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pandas import DataFrame, Series

from ebmark import stats
from ebmark.report import words
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Grid, cells, records
from ebmark.report.tables import ORDER

BEATS = "beats the Gaussian"


def statuses(study: Study) -> Grid:
    """Method x status, and the share of started runs that diverged."""
    counts = study.trials.groupby(["label", "status"], observed=True).size().unstack(fill_value=0)
    shown = [name for name in ORDER if name in counts]
    started = counts[[name for name in shown if name not in ("skipped", "cancelled")]].sum(axis=1)
    diverged = counts.get("diverged", 0 * started)
    share = (diverged / started.where(started > 0)).rename("diverged_share")
    rows = [
        cells(str(label), *(str(n) for n in counts.loc[label, shown]), words.percent(share[label]))
        for label in counts.index
    ]
    caption = "Trials by status, both lanes. The share that diverged is of the runs that were started."
    tidy = counts[shown].join(share).reset_index()
    return Grid(
        name="statuses",
        title="Statuses",
        caption=caption,
        head=["method", *shown, "share diverged"],
        rows=rows,
        tidy=tidy,
    )


def reasons(study: Study) -> Grid:
    """Why trials are not ok: label, status, reason, how many, where."""
    bad = study.trials[study.trials["status"] != "ok"]
    where = bad["dataset_label"] + ", d = " + bad["dim"].astype(str)
    groups = bad.assign(where=where, short=_short(bad["reason"])).groupby(
        ["label", "status", "short"], observed=True
    )
    tidy = groups.agg(
        trials=("id", "size"),
        reason=("reason", "first"),
        where=("where", lambda x: "; ".join(sorted(set(x)))),
    )
    tidy = tidy.reset_index().drop(columns="short")
    rows = [cells(*(str(value) for value in row.values())) for row in records(tidy)]
    caption = "Every trial that is not ok; of reasons that differ only in their numbers, the first is shown."
    return Grid(
        name="reasons",
        title="Reasons",
        caption=caption,
        head=["method", *tidy.columns[1:]],
        rows=rows,
        tidy=tidy,
    )


def _short(reasons: Series) -> Series:
    """Reasons without their numbers, so that equal ones can be counted."""
    return reasons.str.replace(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", "#", regex=True)


def distrust(study: Study) -> Grid:
    """Counts of untrusted timings of the cost lane and of untrusted values, with the reasons."""
    timings = study.trials[(study.trials["lane"] == "cost") & (study.trials["status"] == "ok")]
    groups = {"wall-clock (cost lane)": timings.rename(columns={"distrust": "why"})}
    for metric, values in study.curve[~study.curve["trusted"]].groupby("metric", observed=True):
        groups[str(metric)] = values.assign(why=values["reasons"].astype(str))
    totals = {"wall-clock (cost lane)": len(timings), **study.curve["metric"].value_counts()}
    found = []
    for what, rows in groups.items():
        bad = rows.loc[~rows["trusted"], "why"].str.split("; ").explode()
        counts = bad.groupby(_short(bad)).agg(["first", "size"])
        for row in records(counts.sort_values("size", ascending=False, kind="stable")):
            why = row["first"] or "no reason given"
            found.append({"value": what, "untrusted": row["size"], "of": totals[what], "why": why})
    tidy = DataFrame(found, columns=["value", "untrusted", "of", "why"])
    lines = [cells(row["value"], f"{row['untrusted']} of {row['of']}", row["why"]) for row in records(tidy)]
    caption = (
        "Values that may not be compared, by reason, of which a value may have several; one example where "
        "reasons differ in their numbers."
    )
    return Grid(
        name="untrusted",
        title="What may not be compared",
        caption=caption,
        head=["value", "untrusted", "why"],
        rows=lines,
        tidy=tidy,
    )


def real(study: Study) -> Grid:
    """Real data: final negative log-likelihood against the Gaussian fitted by maximum likelihood."""
    base = study.curve[study.curve["metric"] == "nll_gaussian"].drop_duplicates("id", keep="last")
    scale = study.curve[study.curve["metric"] == "log_det"].drop_duplicates("id", keep="last")
    runs = finals(study, "nll").merge(base[["id", "value"]].rename(columns={"value": "gaussian"}), on="id")
    runs = runs.merge(scale[["id", "value"]].rename(columns={"value": "log_det"}), on="id", how="left")
    found: list[dict[str, Any]] = [
        {"label": str(label), "data": f"{dataset}, d = {d}", **_beats(part)}
        for (label, dataset, d), part in runs.groupby(["label", "dataset_label", "dim"], observed=True)
    ]
    rows = []
    for row in found:
        nll = words.measured(row["nll"], row["se"], row["lo"], row["hi"], trusted=row["trusted"])
        own = words.number(row["nll"] - row["log_det"], 4) if row["trusted"] else "–"
        line = [row["label"], row["data"], nll, words.number(row["gaussian"], 4), row["verdict"], own]
        rows.append(cells(*line))
    caption = (
        "Test negative log-likelihood (nats) beside that of the Gaussian fitted by maximum likelihood; in "
        "the data's own units what their scale adds to the log-density is taken off, as published values "
        "have it. [ ]†: untrusted, its interval."
    )
    head = ["method", "data", "nll", "Gaussian", "verdict", "nll in the data's own units"]
    return Grid(
        name="real",
        title="Likelihood against the Gaussian",
        caption=caption,
        head=head,
        rows=rows,
        tidy=DataFrame(found),
    )


def _beats(part: DataFrame) -> dict[str, object]:
    """Whether the likelihood is better than the Gaussian's, by the t interval over 3 seeds or more."""
    gap, n, trusted = part["value"] - part["gaussian"], len(part), bool(part["trusted"].all())
    ends = stats.t_interval(gap.to_numpy(float))
    by = f"by {words.number(abs(float(ends.centre)))} nats"
    if not trusted:
        kind, verdict = "no verdict", "the likelihood is not trusted"
    elif n < stats.MIN_SEEDS:
        below = f"below it in {(gap < 0).sum()} of {words.counted(n, 'run')}"
        kind, verdict = "too few seeds for a verdict", f"{below}, too few for more"
    elif ends.hi < 0 or ends.lo > 0:
        kind = BEATS if ends.hi < 0 else "worse than the Gaussian"
        verdict = f"{kind} {by}"
    else:
        kind = verdict = "not told from the Gaussian"
    se = part["value"].std() / np.sqrt(n) if n > 1 else part["se"].iloc[0]
    numbers = {"nll": part["value"].mean(), "se": se, "n": n, "gaussian": part["gaussian"].mean()}
    numbers |= {"lo": part["lo"].min(), "hi": part["hi"].max(), "log_det": part["log_det"].mean()}
    return {**numbers, "trusted": trusted, "kind": kind, "verdict": verdict}


def environments(study: Study) -> Grid:
    """The machines and versions behind the numbers."""
    counts = study.trials.groupby("env").size()
    env = study.env.assign(trials=study.env["env"].map(counts).fillna(0).astype(int)).astype(object)
    rows = []
    for name in [name for name in env.columns if name not in ("versions", "threads")]:
        rows.append(cells(name, *(_shown(name, value) for value in env[name])))
    for name in ("versions", "threads"):
        parsed = [json.loads(text) if isinstance(text, str) and text else {} for text in env[name]]
        for key in sorted({key for one in parsed for key in one}):
            rows.append(cells(key, *(str(one.get(key, "–")) for one in parsed)))
    head = ["", *(f"environment {i + 1}" for i in range(len(env)))]
    return Grid(
        name="environment",
        title="Environment",
        caption="Where the trials ran.",
        head=head,
        rows=rows,
        tidy=study.env,
    )


def _shown(name: str, value: object) -> str:
    if name == "memory" and isinstance(value, float) and np.isfinite(value):
        return f"{value / 2**30:.0f} GiB"
    return "–" if value is None or value != value or value == "" else str(value)
