"""The report of 100,000 simulated trials: seconds, peak memory and the size of its page (three minutes)."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ebmark.parts import arrow_schema, write_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import synthetic

DATASETS = (
    *((name, (2, 8, 32, 128)) for name in ("gaussian[condition=10]", "phi4")),
    ("eight_gaussians", (2,)),
    *((f"two_modes[m={m}]", (2,)) for m in range(1, 6)),
)
SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)
SECONDS, MEMORY, PAGE = 60.0, 2 * 2**30, 10 * 2**20
SPEC = """name = "simulated"
[[target]]
metric = "fisher"
value = 0.05
per_dim = true
"""


def simulated(folder: Path, trials: int) -> tuple[int, int]:
    """Writes a results folder of about ``trials`` trials; returns its numbers of trials and curve rows.

    One seed of every cell is made by the tests' generator, the others are copies of it with other noise.
    """
    one = synthetic.filed(
        synthetic.study(
            methods=synthetic.EVERY, datasets=DATASETS, cost_dims=SIZES, seeds=1, repeats=1, lattice=200
        )
    )
    times, rng = round(trials / len(one.trials)), np.random.default_rng(0)
    copies, curves = [], []
    for i in range(times):
        luck = pd.Series(np.exp(rng.normal(0, 0.2, len(one.trials))), one.trials["id"])
        copies.append(_copy(one.trials, i).assign(step_seconds=one.trials["step_seconds"] * luck.to_numpy()))
        copies[-1]["repeat"] = np.where(one.trials["lane"] == "cost", i, 0)
        copies[-1]["seed"] = np.where(one.trials["lane"] == "cost", 0, i)
        noise = one.curve["id"].map(luck) * np.exp(rng.normal(0, 0.03, len(one.curve)))
        curves.append(_copy(one.curve, i).assign(value=one.curve["value"] * noise))
    tables = {"trials": pd.concat(copies), "curve": pd.concat(curves), "env": one.env}
    for name, rows in tables.items():
        (folder / name).mkdir(parents=True)
        data = pa.Table.from_pandas(rows, schema=arrow_schema(name), preserve_index=False)
        write_table(folder / name / "part-00000001.parquet", data)
    (folder / "samples").mkdir()
    for id_, rows in one.samples.groupby("id"):
        data = pa.Table.from_pandas(rows.assign(id=f"{id_}-0"), schema=arrow_schema("samples"))
        write_table(folder / "samples" / f"{id_}-0.parquet", data)
    (folder / "spec.toml").write_text(SPEC)
    return len(tables["trials"]), len(tables["curve"])


def _copy(rows: pd.DataFrame, i: int) -> pd.DataFrame:
    return rows.assign(id=rows["id"] + f"-{i}")


def main() -> int:
    """Prints the figures; the exit code is 1 if one misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder for the tables and the report, kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name) / "simulated"
        if not folder.exists():
            trials, rows = simulated(folder, given.trials)
            print(f"{trials:,} trials, {rows:,} rows of the curve", flush=True)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ebmark", "report", str(folder)], check=True)
        seconds = time.perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        memory, page = 1024 * used.ru_maxrss, (folder / "report" / "report.html").stat().st_size
    share = given.trials / 100_000
    ok = seconds <= max(SECONDS * share, 30) and memory <= MEMORY and page <= PAGE
    print(
        f"report {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU), {memory / 2**30:.2f} GiB, "
        f"page {page / 2**20:.1f} MiB; at most {SECONDS:.0f} s, {MEMORY / 2**30:.0f} GiB, "
        f"{PAGE / 2**20:.0f} MiB: {'pass' if ok else 'MISS'}"
    )
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
