"""Tables of what failed, what is not trusted, what real data say, and on which machine."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from pandas import DataFrame

from ebmark import stats
from ebmark.report import words
from ebmark.report.frames import Study, finals
from ebmark.report.grid import Grid, cells
from ebmark.report.tables import ORDER


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
        name="statuses", caption=caption, head=["method", *shown, "share diverged"], rows=rows, tidy=tidy
    )


def reasons(study: Study) -> Grid:
    """Why trials are not ok: label, status, reason, how many, where."""
    bad = study.trials[study.trials["status"] != "ok"]
    where = bad["dataset_label"] + ", d = " + bad["dim"].astype(str)
    short = bad["reason"].str.replace(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", "#", regex=True)
    groups = bad.assign(where=where, short=short).groupby(["label", "status", "short"], observed=True)
    tidy = groups.agg(
        reason=("reason", "first"), n=("id", "size"), where=("where", lambda x: "; ".join(sorted(set(x))))
    ).reset_index()
    tidy = tidy.drop(columns="short")
    rows = [cells(str(r.label), r.status, str(r.n), r.reason, r.where) for r in tidy.itertuples()]
    caption = (
        "Every trial that is not ok, with its reason (the first one, where reasons differ only in numbers)."
    )
    head = ["method", "status", "trials", "reason", "where"]
    return Grid(name="reasons", caption=caption, head=head, rows=rows, tidy=tidy)


def distrust(study: Study) -> Grid:
    """Counts of untrusted timings of the cost lane and of untrusted values, with the reasons."""
    timings = study.trials[(study.trials["lane"] == "cost") & (study.trials["status"] == "ok")]
    groups = {"wall-clock (cost lane)": (timings, timings["distrust"])}
    for metric, rows in study.curve.groupby("metric"):
        if not rows["trusted"].all():
            groups[str(metric)] = (rows, rows["reasons"].fillna("").astype(str))
    found = []
    for what, (rows, why) in groups.items():
        short = why.str.replace(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", "#", regex=True)
        bad = pd.DataFrame({"why": why, "short": short})[~rows["trusted"]]
        counts = bad.groupby("short")["why"].agg(["first", "size"]).sort_values("size", ascending=False)
        found += [
            {"what": what, "of": len(rows), "untrusted": n, "why": text or "no reason given"}
            for text, n in counts.itertuples(index=False)
        ]
    tidy = DataFrame(found, columns=["what", "of", "untrusted", "why"])
    rows = [cells(r.what, f"{r.untrusted} of {r.of}", r.why) for r in tidy.itertuples()]
    caption = "Values that may not be compared, by reason; one example where reasons differ in their numbers."
    return Grid(name="untrusted", caption=caption, head=["value", "untrusted", "why"], rows=rows, tidy=tidy)


def real(study: Study) -> Grid:
    """Real data: final negative log-likelihood against the Gaussian fitted by maximum likelihood."""
    base = study.curve[study.curve["metric"] == "nll_gaussian"].drop_duplicates("id", keep="last")
    rows = finals(study, "nll").merge(base[["id", "value"]].rename(columns={"value": "gaussian"}), on="id")
    tidy = DataFrame(
        [
            {"label": str(label), "dataset": dataset, "dim": d, **_beats(part)}
            for (label, dataset, d), part in rows.groupby(["label", "dataset_label", "dim"], observed=True)
        ]
    )
    shown = [
        cells(
            r.label,
            f"{r.dataset}, d = {r.dim}",
            words.plus_minus(r.nll, r.se) if r.trusted else f"[{words.plus_minus(r.nll, r.se)}]†",
            words.number(r.gaussian, 4),
            r.verdict,
        )
        for r in tidy.itertuples()
    ]
    caption = "Test negative log-likelihood (nats) beside that of the Gaussian fitted by maximum likelihood."
    head = ["method", "data", "nll", "Gaussian", "verdict"]
    return Grid(name="real", caption=caption, head=head, rows=shown, tidy=tidy)


def _beats(part: DataFrame) -> dict[str, object]:
    """Whether the likelihood is better than the Gaussian's, by the t interval over 3 seeds or more."""
    gap, n = part["value"] - part["gaussian"], len(part)
    se = part["value"].std() / np.sqrt(n) if n > 1 else part["se"].iloc[0]
    ends = stats.t_interval(gap.to_numpy(float))
    if not part["trusted"].all():
        verdict = "untrusted likelihood: no verdict"
    elif n < stats.MIN_SEEDS:
        verdict = (
            f"below the Gaussian in {(gap < 0).sum()} of {words.counted(n, 'run')}; too few seeds for more"
        )
    elif ends.hi < 0 or ends.lo > 0:
        by = words.number(abs(float(ends.centre)))
        verdict = (
            f"beats the Gaussian by {by} nats" if ends.hi < 0 else f"worse than the Gaussian by {by} nats"
        )
    else:
        verdict = "cannot be told from the Gaussian"
    centre = {"nll": part["value"].mean(), "se": se, "n": n, "gaussian": part["gaussian"].mean()}
    return {**centre, "trusted": bool(part["trusted"].all()), "verdict": verdict}


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
    return Grid(name="environment", caption="Where the trials ran.", head=head, rows=rows, tidy=study.env)


def _shown(name: str, value: object) -> str:
    if name == "memory" and isinstance(value, float) and np.isfinite(value):
        return f"{value / 2**30:.0f} GiB"
    return "–" if value is None or value != value or value == "" else str(value)
