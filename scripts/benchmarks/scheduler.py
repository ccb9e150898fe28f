"""How much of a run's wall-clock is not training or evaluation, and how full its slots are (3 minutes)."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ebmark.predict import Costs, wall_shares
from ebmark.progress import Progress
from ebmark.record import Record
from ebmark.runners import Job
from ebmark.runners.ray import RayRunner
from ebmark.schedule import run_lanes
from ebmark.store import Store, read
from ebmark.study import load

PLUGIN = """
import time
from ebmark.api import Method, Passes, method


@method("waits", year=2026)
class Waits(Method):
    seconds: float = 0.05
    burns: bool = False  # the CPU while it waits

    def loss(self, energy, x, state, rng):
        end = time.perf_counter() + self.seconds
        while self.burns and time.perf_counter() < end:
            pass
        time.sleep(max(end - time.perf_counter(), 0))
        return energy(x).square().mean(-1)

    def passes(self, d):
        return Passes(forward=1, backward=2)
"""
SPEC = """
name = "waiting"
seeds = {seeds}
metrics = ["fisher"]
pictures = false
[budget]
steps = {steps}
batch = 16
checkpoints = 1
[network]
name = "quadratic"
[[methods]]
{method}
[[datasets]]
name = "gaussian"
dim = 2
"""
SLOTS = 2
SHARE = 0.10  # of the wall-clock that may be neither training nor evaluation
FULL = {False: 0.90, True: 0.80}  # of the ideal, for trials that sleep and for trials that burn their CPU


class Timed(Store):
    """A store that knows when its last record was on disk."""

    last = 0.0

    def append(self, records: Sequence[Record]) -> None:
        """Stores the records."""
        super().append(records)
        self.last = time.time()


def run(folder: Path, method: str, seeds: int, steps: int) -> Any:
    """Runs a study on warm workers; its trials, and when the last was on disk (seconds since the epoch)."""
    (folder / "study.toml").write_text(SPEC.format(seeds=seeds, steps=steps, method=method))
    trials = load(folder / "study.toml").trials()
    runner = RayRunner(jobs=SLOTS)
    for _ in runner.run([Job(trial=trial) for trial in trials[: 4 * SLOTS]], exclusive=False):
        pass  # the workers have imported torch
    seconds = wall_shares(trials, Costs.beside(folder / "results"), SLOTS)
    with Timed(folder / "results") as store:
        progress = Progress(left=seconds, done=0, slots=SLOTS, out=io.StringIO())
        run_lanes(store, [Job(trial=trial) for trial in trials], lambda: ([], {}), runner, progress)
    return read(folder / "results").trials, store.last


def full(folder: Path, trials: int, *, burns: bool) -> bool:
    """Many short trials: how near the slots are to always busy."""
    plugin = folder / "waits.py"
    plugin.write_text(PLUGIN)
    rows, last = run(folder, f'name = "{plugin}:waits"\nburns = {str(burns).lower()}', trials, 1)
    wall = last - rows["started"].min().timestamp()
    ideal = 0.05 * len(rows) / SLOTS
    inside = (rows["finished"] - rows["started"]).dt.total_seconds().mean()
    found, ok = ideal / wall, ideal / wall >= FULL[burns] and (rows["status"] == "ok").all()
    what = f"{trials} trials of 50 ms that {'burn their CPU' if burns else 'sleep'}, {SLOTS} slots"
    print(
        f"{what:52} {found:6.1%} of the ideal, at least {FULL[burns]:.0%}: {'pass' if ok else 'MISS'}"
        f"  ({1000 * wall * SLOTS / len(rows):.1f} ms a trial and slot, {1000 * inside:.1f} ms in the trial)",
        flush=True,
    )
    return bool(ok)


def share(folder: Path, trials: int) -> bool:
    """A study of trials of about a second: what of its wall-clock is neither training nor evaluation."""
    rows, last = run(folder, 'name = "dsm"', trials, STEPS)
    wall = last - rows["started"].min().timestamp()
    work = (rows["wall"] + rows["first_call"] + rows["wall_evaluation"]).sum() / SLOTS
    found, ok = 1 - work / wall, 1 - work / wall < SHARE and (rows["status"] == "ok").all()
    what = f"{trials} trials of {work * SLOTS / len(rows):.2f} s, {SLOTS} slots"
    print(
        f"{what:52} {found:6.1%} of the wall-clock is not training or evaluation, below {SHARE:.0%}: "
        f"{'pass' if ok else 'MISS'}",
        flush=True,
    )
    return bool(ok)


STEPS = 2500  # of dsm on a quadratic network: about a second


def main() -> int:
    """Prints a line per measurement; the exit code is 1 if one misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the trials")
    part = 5 if parser.parse_args().quick else 1
    found = []
    with tempfile.TemporaryDirectory() as name:
        for i, burns in enumerate((False, True)):
            folder = Path(name) / str(i)
            folder.mkdir()
            found.append(full(folder, 1000 // part, burns=burns))
        found.append(share(Path(name), 200 // part))
    return int(not all(found))


if __name__ == "__main__":
    sys.exit(main())
