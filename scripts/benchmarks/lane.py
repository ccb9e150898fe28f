"""How well the cost lane repeats itself: ten repeats of each of three cells, through `ebmark run` (1 minute).

Prints the coefficient of variation of the processor's seconds per step; at most 5 % on a quiet machine, where
every row is trusted. With `--busy` a second process computes meanwhile, and every row must be flagged. The
exit code is 1 if that does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from ebmark.trust import REASONS

BAR = 0.05
STUDY = """
name = "lane"
seeds = 1
metrics = ["fisher"]

[budget]
steps = 1
checkpoints = 1

[network]
name = "mlp"

[[methods]]
name = "dsm"

[[methods]]
name = "nce"

[[methods]]
name = "cd"
k = 10

[[datasets]]
name = "gaussian"
dim = 8

[cost]
repeats = 10
seconds = 1
dims = [8]
"""
RIVAL = "while True: pass"


def measured(runner: str) -> pd.DataFrame:
    """The rows of the cost lane of a fresh run."""
    with tempfile.TemporaryDirectory() as name:
        study, out = Path(name) / "lane.toml", Path(name) / "out"
        study.write_text(STUDY)
        command = [sys.executable, "-m", "ebmark", "run", str(study), "-o", str(out), "--runner", runner]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"lane: `ebmark run` ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        trials = pd.read_parquet(out / "trials")
    return trials[trials["lane"] == "cost"]


def main() -> int:
    """Prints a row per cell, and why timings are not trusted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="with a second process that computes")
    parser.add_argument("--runner", choices=["ray", "serial"], default="ray")
    arguments = parser.parse_args()
    rival = subprocess.Popen([sys.executable, "-c", RIVAL]) if arguments.busy else None
    try:
        trials = measured(arguments.runner)
    finally:
        if rival:
            rival.kill()
            rival.wait()
    missed = 0
    print(f"{'method':12} {'ms of CPU a step':>16} {'variation':>9} {'trusted':>8}")
    for label, rows in trials.assign(each=1e3 * trials["cpu"] / trials["steps"]).groupby("method_label"):
        mean, variation, trusted = (
            rows["each"].mean(),
            rows["each"].std() / rows["each"].mean(),
            rows["trusted"],
        )
        held = not trusted.any() if arguments.busy else variation <= BAR and trusted.all()
        missed += not held
        of, verdict = f"{trusted.sum()} of {len(rows)}", "pass" if held else "MISS"
        print(f"{label:12} {mean:16.3f} {variation:9.1%} {of:>8} {verdict}")
    for phrase in REASONS:
        if count := trials["distrust"].str.contains(phrase, regex=False).sum():
            print(f"  {phrase}: {count} of {len(trials)}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
