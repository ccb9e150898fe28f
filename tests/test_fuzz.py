"""No study file and no results folder, whatever is in it, gives a traceback, hangs, or costs a good row.

``scripts/bench fuzz`` does the same 20,000 times.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from ebmark.planfile import write_plan
from ebmark.store import Store
from tests import fuzzing
from tests.fuzzing import Fault
from tests.test_store import record

# The same cases on every machine: what was never seen before is looked for by the benchmark.
fixed = settings(
    deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_300_mutated_studies_are_planned_or_refused_in_one_line():
    ended: Counter[str] = Counter()

    @settings(fixed, max_examples=300)
    @given(fuzzing.specs)
    def bear(text: str) -> None:
        planned = ended.total() % 8 == 0  # a plan takes longer than all else
        ended[fuzzing.bear_spec(text, planned=planned, quick=ended.total() % 3 == 0)] += 1

    bear()
    assert ended.total() >= 290
    assert ended["refused"] > 100 and ended["loaded"] + ended["planned"] > 30, "the mutations tell something"


def base(folder: Path) -> Path:
    """A folder with several parts of each table, files of trials, and what stands beside them."""
    with Store(folder) as writer:
        for i in range(4):
            writer.append([record(f"a{i}{j}", env=f"e{i}", files=j < 2) for j in range(3)])
        writer.append([record("a00", 2)])
        writer.write_spec('name = "study"\nbudget.steps = 3\n[[methods]]\nname = "dsm"\n')
    write_plan(folder, {f"a{i}{j}": 1.0 for i in range(5) for j in range(3)})
    return folder


def test_100_damaged_folders_are_read_or_refused_in_one_line(tmp_path: Path):
    folder, ended = base(tmp_path / "base"), Counter[str]()
    others = itertools.cycle(("show", "compare", "export", "merge"))

    @settings(fixed, max_examples=100)
    @given(fuzzing.damages())
    def bear(damages: tuple[tuple[str, int], ...]) -> None:
        ended.update(fuzzing.bear_folder(folder, damages, ("status", next(others))))

    bear()
    assert 40 < ended["status"] < 100, "most damage leaves something to read"
    assert min(ended.values()) > 5


def test_the_fuzz_sees_a_row_that_is_lost_and_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = base(tmp_path / "base")
    with monkeypatch.context() as patch:
        patch.setattr("ebmark.store.load", lambda *_: 1 / 0)
        with pytest.raises(Fault, match="ZeroDivisionError"):
            fuzzing.bear_folder(folder, (), ())
    with monkeypatch.context() as patch:
        patch.setattr("ebmark.commands.status.done", lambda *_: 1 / 0)
        with pytest.raises(Fault, match="ZeroDivisionError"):
            fuzzing.bear_folder(folder, (), ("status",))
    with monkeypatch.context() as patch:
        patch.setattr("ebmark.store.in_order", lambda data, rows, order: rows[1:])
        with pytest.raises(Fault, match="a compaction has lost rows: 1 of 12"):
            fuzzing.bear_folder(folder, (), ())


def test_rows_without_the_number_of_their_attempt_can_be_planned(tmp_path: Path):
    """Found by the fuzz: a part that somebody else has written, twice there."""
    folder = base(tmp_path / "base")
    damages = (("alien parquet", 90479), ("alien parquet", 90479), ("double", 2147483647))
    assert fuzzing.bear_folder(folder, (("alien parquet", 90479), *damages), ("plan",)) == {"plan": 1}
