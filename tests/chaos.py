"""A study of short trials under fire: processes of its run are killed at random moments, then resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ebmark.record import CURVE, TRIALS
from ebmark.store import read
from tests.study_text import study_text

VICTIMS = ("worker", "driver", "raylet")
LONGEST = 300.0  # seconds that a run may take to end, or to notice that it has no machine left
TIMES = 5  # the same command at most, in all


@dataclass(frozen=True, kw_only=True)
class Round:
    """What happened.

    Attributes:
        victims: what was killed, and after how many trials.
        runs: how often the command was given.
        faults: what is wrong with the results; empty where nothing is.
    """

    victims: tuple[str, ...]
    runs: int
    faults: tuple[str, ...]


def write_spec(folder: Path, trials: int) -> None:
    """The study of so many trials, a multiple of four."""
    text = study_text(
        "chaos", methods={"nce": {}, "dsm": {}}, dim=[2, 4], seeds=trials // 4, steps=4, pictures=False
    )
    (folder / "chaos.toml").write_text(text)


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Gives the command; what it prints is in ``log.txt``."""
    command = [sys.executable, "-m", "ebmark", "run", "chaos.toml", "-o", "out", *more]
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )


def undisturbed(folder: Path, trials: int) -> Path:
    """The results of the study, run to its end in one process."""
    write_spec(folder, trials)
    if start(folder, "--runner", "serial").wait(LONGEST):
        raise AssertionError((folder / "log.txt").read_text()[-2000:])
    return folder / "out"


def disturbed(folder: Path, expected: Path, trials: int, rng: random.Random, victims: list[str]) -> Round:
    """Kills each of the victims once, at a random moment, and gives the command until it succeeds."""
    write_spec(folder, trials)
    killed: list[str] = []
    waiting = list(victims)
    for runs in range(1, TIMES + 1):
        run = start(folder)
        while waiting and run.poll() is None:
            ended = _strike(run, folder, waiting[0], rng.uniform(0, trials))
            if ended is None:
                break  # the run was over first
            killed.append(f"{waiting.pop(0)} after {ended}")
            if killed[-1].startswith("driver"):
                break
        try:
            code = run.wait(LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            return Round(victims=tuple(killed), runs=runs, faults=(f"run {runs} did not end",))
        if code == 0:
            return Round(victims=tuple(killed), runs=runs, faults=tuple(faults(folder / "out", expected)))
    return Round(victims=tuple(killed), runs=TIMES, faults=(f"no success in {TIMES} runs, last code {code}",))


def _strike(run: subprocess.Popen[str], folder: Path, victim: str, after: float) -> int | None:
    """Kills a process of the run once so many trials have ended; how many had, None if the run was over."""
    while run.poll() is None:
        ended = sum(1 for _ in (folder / "out" / "models").glob("[!.]*"))  # each trial that is ok stores one
        late = ended >= after
        targets = ([run.pid] if victim == "driver" else _processes(run.pid, victim)) if late else []
        if targets:
            with suppress(ProcessLookupError):
                os.kill(random.Random(after).choice(targets), signal.SIGKILL)
                return ended
        time.sleep(0.01)
    return None


def _processes(root: int, kind: str) -> list[int]:
    """The raylets or the workers below a process."""
    parents: dict[int, list[int]] = {}
    for pid, parent, _ in _all():
        parents.setdefault(parent, []).append(pid)
    family, below = set[int](), [root]
    while below:
        family.add(pid := below.pop())
        below += parents.get(pid, [])
    mark = "ray::Worker" if kind == "worker" else "/raylet"
    return [pid for pid, _, command in _all() if pid in family and mark in command.split(" ")[0]]


def _all() -> Iterator[tuple[int, int, str]]:
    """Every process: its id, its parent's, its command."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, (folder / "cmdline").read_text().replace("\0", " ")


def faults(folder: Path, expected: Path) -> Iterator[str]:
    """What is wrong with results that should be those of an undisturbed run."""
    tables, wanted = read(folder), read(expected)
    yield from tables.warnings
    counts = pd.read_parquet(folder / "trials")["id"].value_counts()
    if doubled := list(counts[counts > 1].index):
        yield f"{len(doubled)} trials are there twice, the first {doubled[0]}"
    for name, columns, keys in (
        ("trials", TRIALS, ["id"]),
        ("curve", CURVE, ["id", "step", "metric", "source"]),
    ):
        kept = [column for column, about in columns.items() if not about.timing]
        one, other = (getattr(t, name)[kept].sort_values(keys, ignore_index=True) for t in (tables, wanted))
        try:
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        except AssertionError as error:
            yield f"{name}: {' '.join(str(error).split())[:300]}"
    if left := [path.name for path in folder.rglob(".*") if path.name not in (".lock",)]:
        yield f"left behind: {', '.join(left[:5])}"
