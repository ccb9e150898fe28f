"""What `ebmark plan` predicts against what trials then took, each left out of the tables (3 minutes)."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ebmark.costs import aggregated
from ebmark.drive import drive
from ebmark.predict import Costs
from ebmark.runners.ray import RayRunner
from ebmark.store import Tables, read
from ebmark.study import load

MOST = 0.25  # median relative error of a trial's seconds within the sizes seen
FRESH = """
name = "fresh"
seeds = {seeds}
metrics = ["fisher", "kl"]
[budget]
steps = 400
batch = 128
checkpoints = 3
[network]
name = "mlp"
width = 64
[[methods]]
name = "cd"
k = [1, 10]
[[methods]]
name = "dsm"
[[methods]]
name = "nce"
[[methods]]
name = "sm"
[[datasets]]
name = "gaussian"
dim = [2, 4, 8, 16]
[cost]
repeats = 2
seconds = 0.5
"""


def splits(tables: Tables) -> Iterator[tuple[str, pd.Series]]:
    """What is left out, by name: each size inside the range, half of the seeds, each method."""
    trials = tables.trials
    for dim in sorted(trials["dim"].unique())[1:-1]:
        yield "a size", trials["dim"] == dim
    for parity in (0, 1):
        yield "half the seeds", (trials["seed"] % 2 == parity) & (trials["lane"] != "cost")
    for method in trials["method"].unique():
        yield "a method", trials["method"] == method


def errors(tables: Tables) -> pd.DataFrame:
    """Predicted over measured seconds of every trial that was left out; a row per trial and way."""
    ways = []
    plan = {trial.id: trial for trial in load(tables.folder / "spec.toml").trials()}
    ok = tables.trials[(tables.trials["status"] == "ok") & tables.trials["id"].isin([*plan])]
    known = tables.trials
    reach = known.groupby(["dataset_label", "network"])["dim"].agg(["min", "max"])
    for way, out in splits(tables):
        costs = Costs([aggregated(str(tables.folder), known[~out], tables.curve)])
        rows = ok[out.loc[ok.index]].join(reach, on=["dataset_label", "network"])
        if way == "a size":
            rows = rows[(rows["min"] < rows["dim"]) & (rows["dim"] < rows["max"])]
        took = (rows["finished"] - rows["started"]).dt.total_seconds()
        predicted = [costs.predict(plan[id]).seconds for id in rows["id"]]
        ways.append(rows[["lane", "method_label"]].assign(way=way, ratio=predicted / took))
    return pd.concat(ways)


def show(tables: Tables, name: str) -> bool:
    """Prints the errors by what was left out, lane and method; whether those within the range are small."""
    found, oks = errors(tables), []
    found["error"] = (found["ratio"] - 1).abs()
    print(f"\n{name}: predicted against measured seconds of a trial")
    print(f"{'left out':16} {'lane':8} {'trials':>6} {'error':>7} {'ratio':>6}")
    for (way, lane), rows in found.groupby(["way", "lane"], sort=False):
        error, judged = rows["error"].median(), way != "a method"
        oks.append(error < MOST or not judged)
        verdict = ("pass" if oks[-1] else "MISS") if judged else ""
        ratio = rows["ratio"].median()
        print(f"{way:16} {lane:8} {len(rows):6} {error:7.1%} {ratio:6.2f} {verdict}", flush=True)
    inside = found[(found["lane"] != "cost") & (found["way"] != "a method")]
    print(f"{'method':26} {'trials':>6} {'error':>7} {'ratio':>6}")
    for method, rows in inside.groupby("method_label"):
        print(f"{method:26} {len(rows):6} {rows['error'].median():7.1%} {rows['ratio'].median():6.2f}")
    return all(oks)


def main() -> int:
    """Prints the tables; the exit code is 1 if a median error is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="results folders; default: the committed ones")
    parser.add_argument("--quick", action="store_true", help="fewer seeds in the fresh run")
    given = parser.parse_args()
    oks = []
    for folder in given.folders or [Path("results/reference"), Path("results/methods")]:
        oks.append(show(read(folder), str(folder)))
    if not given.folders:
        with tempfile.TemporaryDirectory() as name:
            path, folder = Path(name) / "fresh.toml", Path(name) / "out"
            path.write_text(FRESH.format(seeds=2 if given.quick else 4))
            drive(load(path), folder, RayRunner, out=io.StringIO())
            oks.append(show(read(folder), "a fresh run"))
    return int(not all(oks))


if __name__ == "__main__":
    sys.exit(main())
