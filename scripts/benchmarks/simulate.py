"""A million trials without training one: what planning, driving, storing and resuming cost (20 minutes)."""

from __future__ import annotations

import argparse
import heapq
import io
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ebmark.drive import missing
from ebmark.env import describe
from ebmark.execute import Place, lost
from ebmark.planfile import write_plan
from ebmark.predict import Costs, wall_shares
from ebmark.progress import Progress
from ebmark.record import Record
from ebmark.runners import Job
from ebmark.schedule import run_lanes
from ebmark.store import Store, done, read
from ebmark.study import Study, load

SPEC = """
name = "simulated"
seeds = {seeds}
metrics = ["fisher"]
pictures = false
[budget]
steps = 1000
[[methods]]
name = "cd"
k = [1, 2, 5, 10, 20, 50, 100]
[[methods]]
name = "dsm"
[[methods]]
name = "nce"
[[methods]]
name = "sm"
[[datasets]]
name = "gaussian"
dim = [2, 4, 8, 16, 32]
condition = [1, 10]
"""
CELLS = 100
FAULTY = 0.02  # of the trials
# At 1,000,000 trials: seconds, bytes, seconds a trial, seconds.
PLAN, MEMORY, DRIVE, RESUME = 60.0, 4 * 2**30, 1e-3, 60.0
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


class Simulated:
    """A runner whose clock jumps from one end of a trial to the next.

    Durations are log-normal around what was expected; a few trials crash.

    Args:
        slots: trials side by side.
        seconds: expected of each trial, by id.
    """

    def __init__(self, slots: int, seconds: dict[str, float]) -> None:
        self.slots, self._seconds = slots, seconds
        self._random = random.Random(0)
        self._place = Place(env=describe())
        self.makespan = self.work = self.spent = self.spent_cpu = 0.0

    def run(self, jobs: Sequence[Job], *, exclusive: bool) -> Iterator[Record]:
        """One record per job, in the order in which they end."""
        begin, cpu, now = time.perf_counter(), time.thread_time(), 0.0
        running: list[tuple[float, int]] = []
        waiting = iter(enumerate(jobs))
        free = self.slots
        while True:
            for i, job in waiting:
                seconds = self._seconds[job.trial.id] * self._random.lognormvariate(0, 0.3)
                self.work += seconds
                heapq.heappush(running, (now + seconds, i))
                free -= 1
                if not free:
                    break
            if not running:
                break
            now, i = heapq.heappop(running)
            free += 1
            record = self._record(jobs[i], now)
            self.spent += time.perf_counter() - begin
            self.spent_cpu += time.thread_time() - cpu
            yield record
            begin, cpu = time.perf_counter(), time.thread_time()
        self.makespan = max(self.makespan, now)

    def _record(self, job: Job, now: float) -> Record:
        faulty = self._random.random() < FAULTY
        made = lost(job.trial, self._place, job.attempt, "crashed", "drawn")
        end = STARTED + timedelta(seconds=now)
        row = {**made.trial, "started": end - timedelta(seconds=1), "finished": end}
        if not faulty:
            row |= {"status": "ok", "reason": "", "steps": 1000}
        where = {
            "id": job.trial.id,
            "attempt": job.attempt,
            "metric": "fisher",
            "source": "",
            "trusted": True,
        }
        curve = tuple({**where, "step": step, "value": 1.0} for step in (0, 1000))
        return Record(trial=row, curve=() if faulty else curve, env=made.env)

    def close(self) -> None:
        """Nothing to end."""


def timed(what: str, most: float, make: Callable[[], T]) -> tuple[T, bool]:
    """Runs it; prints its seconds and the peak memory so far."""
    begin, cpu = time.perf_counter(), time.process_time()
    made = make()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ok = seconds <= most and memory <= MEMORY
    limits = f"at most {most:.0f} s and {MEMORY / 2**30:.0f} GiB"
    print(
        f"{what:8} {seconds:8.1f} s ({cpu:.1f} s of CPU), {memory / 2**30:5.2f} GiB; {limits}: "
        f"{'pass' if ok else 'MISS'}",
        flush=True,
    )
    return made, ok


def planned(path: Path, folder: Path, slots: int) -> tuple[list[Job], dict[str, float], Study]:
    """The jobs of a study that are missing in a folder, and their expected shares of the wall-clock."""
    study = load(path)
    trials = study.trials()
    seconds = wall_shares(trials, Costs.beside(folder), slots)
    return missing(trials, done(folder)), seconds, study


def driven(folder: Path, jobs: list[Job], seconds: dict[str, float], slots: int) -> Simulated:
    """Runs the jobs on simulated slots, through the window, the writer and the store."""
    runner = Simulated(slots, {id: share * slots for id, share in seconds.items()})
    with Store(folder) as store:
        write_plan(folder, seconds)
        progress = Progress(left=seconds, done=0, slots=slots, out=io.StringIO())
        if run_lanes(store, jobs, lambda: ([], {}), runner, progress):
            sys.exit(130)
    return runner


def compacted(folder: Path, jobs: list[Job]) -> None:
    """Rewrites the tables into one part each."""
    with Store(folder) as store:
        store.compact([job.trial.id for job in jobs])


def main() -> int:
    """Prints a line per phase; the exit code is 1 if one misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000, help="a multiple of 100")
    parser.add_argument("--slots", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="10,000 trials on 100 slots")
    given = parser.parse_args()
    n, slots = (10_000, 100) if given.quick else (given.trials, given.slots)
    share, oks = n / 1_000_000, []
    with tempfile.TemporaryDirectory() as name:
        path, folder = Path(name) / "simulated.toml", Path(name) / "out"
        path.write_text(SPEC.format(seeds=n // CELLS))
        (jobs, seconds, _), ok = timed("plan", max(PLAN * share, 5), lambda: planned(path, folder, slots))
        oks.append(ok)
        begin, cpu = time.perf_counter(), time.process_time()
        runner = driven(folder, jobs, seconds, slots)
        each = (time.perf_counter() - begin - runner.spent) / len(jobs)
        cpu = (time.process_time() - cpu - runner.spent_cpu) / len(jobs)
        oks.append(each <= DRIVE)
        print(
            f"{'drive':8} {1e3 * each:8.3f} ms a trial ({1e3 * cpu:.3f} ms of CPU); at most "
            f"{1e3 * DRIVE:.0f} ms: {'pass' if oks[-1] else 'MISS'}; "
            f"slots busy {runner.work / slots / runner.makespan:.1%}",
            flush=True,
        )
        oks.append(timed("compact", max(PLAN * share, 5), lambda: compacted(folder, jobs))[1])
        (left, _, _), ok = timed("resume", max(RESUME * share, 5), lambda: planned(path, folder, slots))
        oks.append(ok and not left)
        rows, ok = timed("read", max(PLAN * share, 5), lambda: len(read(folder).trials))
        oks.append(rows == len(jobs))
    return int(not all(oks))


if __name__ == "__main__":
    sys.exit(main())
