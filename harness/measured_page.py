"""The tables of what every method reached, in docs/methods.md, made from the committed run of `methods`.

``python -m ebmark.measured_page PAGE RESULTS`` says whether the page is out of date, with ``--fix`` it
rewrites it. The tables stand between ``<!-- measured -->`` and its end, and ``<!-- measured elsewhere -->``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ebmark.errors import EbmarkError, StoreError
from ebmark.marked import between, settle
from ebmark.report.names import noise_is_data_gaussian
from ebmark.store import Tables, read

RING = "eight_gaussians"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the second table: a metric on a data set, per dimension where ``per_dim``."""

    title: str
    metric: str
    dataset: str
    dim: int
    per_dim: bool = False


def _label(m: int) -> str:
    return "two_modes" if m == 2 else f"two_modes[m={m}]"  # 2 is the default


ELSEWHERE = (
    *(Column(title=f"two_modes m = {m}", metric="kl", dataset=_label(m), dim=2) for m in range(1, 6)),
    *(
        Column(title=f"{name} d = {d}", metric="fisher", dataset=label, dim=d, per_dim=True)
        for name, label in (("phi4", "phi4"), ("gaussian", "gaussian[condition=10]"))
        for d in (2, 8)
    ),
)


def tables(results: Tables) -> Mapping[str, list[str]]:
    """Both tables as lines of Markdown, by the name of their place."""
    trials = results.trials[results.trials["lane"] == "quality"]
    last = results.curve.groupby("id")["step"].transform("max") == results.curve["step"]
    final = results.curve[last & results.curve["source"].isin(["", "smc"])]
    final = final.merge(trials[["id", "seed", "method_label", "dataset_label", "dim", "status"]], on="id")
    final = final[final["status"] == "ok"]
    return {"measured": [*_ring(trials, final)], "measured elsewhere": [*_elsewhere(trials, final)]}


def _ring(trials: pd.DataFrame, final: pd.DataFrame) -> Iterator[str]:
    """One row per method; untrusted medians come after the trusted ones, methods without a value last."""
    yield "| method | steps | passes, F | KL in nats, median | each seed | failed, everywhere |"
    yield "|---|---|---|---|---|---|"
    here = trials[trials["dataset"] == RING]
    kl = final[(final["dataset_label"] == RING) & (final["metric"] == "kl")].sort_values("seed")
    medians = kl.groupby("method_label").agg(value=("value", "median"), trusted=("trusted", "all"))
    order = medians.sort_values(["trusted", "value"], ascending=[False, True]).index
    for label in [*order, *sorted(set(here["method_label"]) - set(order))]:
        own, values = here[here["method_label"] == label], kl[kl["method_label"] == label]
        each = ", ".join(_value(row.value, row.trusted) for row in values.itertuples()) or "–"
        median = _value(*medians.loc[label]) if label in medians.index else "–"
        median += _share(own)
        work = f"{own['passes'].median():.1e}".replace("e+0", "e")
        steps = int(own["steps"].median())
        yield f"| `{label}` | {steps} | {work} | {median} | {each} | {_failed(trials, label)} |"


def _elsewhere(trials: pd.DataFrame, final: pd.DataFrame) -> Iterator[str]:
    yield "| method | " + " | ".join(column.title for column in ELSEWHERE) + " |"
    yield "|---" * (len(ELSEWHERE) + 1) + "|"
    for label in sorted(set(trials["method_label"])):
        cells = [_cell(trials, final, label, column) for column in ELSEWHERE]
        yield f"| `{label}` | " + " | ".join(cells) + " |"


def _cell(trials: pd.DataFrame, final: pd.DataFrame, label: str, column: Column) -> str:
    """The median over seeds, or why there is none; ‡ where the method was given the truth to begin with."""

    def there(frame: pd.DataFrame) -> pd.DataFrame:
        at = (frame["dataset_label"] == column.dataset) & (frame["dim"] == column.dim)
        return frame[at & (frame["method_label"] == label)]

    values, runs = there(final), there(trials)
    values = values[values["metric"] == column.metric]
    if runs.empty:
        return "not run"
    if values.empty:
        return next((str(status) for status in runs["status"] if status != "ok"), "no value")
    median = values["value"].median() / (column.dim if column.per_dim else 1)
    head_start = column.dataset.startswith("gaussian") and _knows_gaussian(runs.iloc[0])
    return _value(median, bool(values["trusted"].all())) + "‡" * head_start + _share(runs)


def _knows_gaussian(trial: pd.Series) -> bool:
    return noise_is_data_gaussian(trial["method"], json.loads(trial["method_args"] or "{}"))


def _value(value: float, trusted: bool) -> str:
    return f"{value:.2g}" if trusted else f"[{value:.2g}]†"


def _share(runs: pd.DataFrame) -> str:
    """``(2/3)``: how many of the runs are ok, where some failed and some did not."""
    runs = runs[runs["status"] != "skipped"]
    ok = int((runs["status"] == "ok").sum())
    return f" ({ok}/{len(runs)})" if 0 < ok < len(runs) else ""


def _failed(trials: pd.DataFrame, label: str) -> str:
    """How many of the trials that were run diverged or failed, by status."""
    own = trials[(trials["method_label"] == label) & (trials["status"] != "skipped")]
    counts = own["status"].value_counts()
    bad = [f"{n} {status}" for status, n in counts.items() if status != "ok"]
    return f"{', '.join(bad) or '0'} of {len(own)}"


def main(arguments: Sequence[str]) -> int:
    """Compares the page with the results, or with ``--fix`` rewrites it; returns 1 if something is wrong."""
    page, results = (Path(argument) for argument in arguments if argument != "--fix")
    text = page.read_text(encoding="utf-8")
    wanted = text
    try:
        for name, lines in tables(read(results)).items():
            wanted = between(wanted, name, lines)
    except EbmarkError as error:
        print(error if isinstance(error, StoreError) else f"{page}: {error}", file=sys.stderr)
        return 1
    return settle(page, text, wanted, "the measured tables are", fix="--fix" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
