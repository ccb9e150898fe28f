"""The cost lane is repeated whole when a study grows, and resumed when a run was interrupted."""

from __future__ import annotations

import json
from collections import Counter

import pandas as pd
import pytest

from ebmark.costlane import OUTDATED, CostLane, read_lane, write_lane
from ebmark.drive import missing, planned_lane
from ebmark.store import read
from ebmark.study import load
from tests.study_text import study_text

SPEC = study_text("grow", methods={"dsm": {}}, batch=8) + "[cost]\nrepeats = 2\nseconds = 0.02\n"
MORE = '\n[[methods]]\nname = "sm"\n'


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "grow.toml").write_text(SPEC + MORE)
    return load(tmp_path / "grow.toml").trials()


def stored(trials, attempt=1):
    rows = [{"id": t.id, "lane": t.lane, "status": "ok", "attempt": attempt} for t in trials]
    return pd.DataFrame(rows)


def of(trials, method, lane="cost"):
    return [t for t in trials if t.method.name == method and t.lane == lane]


def left(folder, plan, rows):
    """What is missing under the folder's lane, which is stored as a run would."""
    lane = planned_lane(folder, plan, rows)
    write_lane(folder, lane)
    return [job.trial for job in missing(plan, rows, lane=lane)]


def test_a_study_that_grows_repeats_its_cost_lane_whole(cli, tmp_path):
    path = tmp_path / "grow.toml"
    trained = []
    for text in (SPEC, SPEC, SPEC + MORE, SPEC + MORE):
        path.write_text(text)
        run = cli("run", "grow.toml", "-o", "out", "--runner", "serial", "--json")
        assert run.returncode == 0, run.stderr
        trained.append(json.loads(run.stdout)["trained"])
    # 1 quality and 2 cost trials; nothing; 1 new quality trial and the cost lane of both methods; nothing.
    assert trained == [3, 0, 1 + 4, 0]
    trials = read(tmp_path / "out").trials
    attempts = Counter(zip(trials["method"], trials["lane"], trials["attempt"], strict=True))
    assert attempts == {
        ("dsm", "quality", 1): 1,
        ("dsm", "cost", 2): 2,
        ("sm", "quality", 1): 1,
        ("sm", "cost", 1): 2,
    }
    assert not trials["distrust"].str.contains(OUTDATED).any()


def test_measurements_from_before_the_growth_are_not_trusted(cli, tmp_path):
    path = tmp_path / "grow.toml"
    path.write_text(SPEC)
    assert cli("run", "grow.toml", "-o", "out", "--runner", "serial").returncode == 0
    assert cli("run", "grow.toml", "-o", "out", "--runner", "serial", "-m", "sm").returncode == 0
    trials = read(tmp_path / "out").trials
    outdated = trials[trials["distrust"] == OUTDATED]
    assert set(zip(outdated["method"], outdated["lane"], strict=True)) == {("dsm", "cost")}
    assert not outdated["trusted"].any()
    path.write_text(SPEC + MORE)
    status = json.loads(cli("plan", "grow.toml", "-o", "out", "--json").stdout)
    assert status["missing"] == 2  # the first method's cost lane; the second is measured


def test_an_interrupted_run_resumes_its_cost_lane(tmp_path, plan):
    assert len(left(tmp_path, plan, stored([]).reindex(columns=["id", "lane", "status", "attempt"]))) == 6
    half = [t for t in plan if t.lane == "quality"] + of(plan, "dsm")
    assert left(tmp_path, plan, stored(half)) == of(plan, "sm")


def test_a_run_killed_while_it_repeats_the_lane_goes_on_repeating(tmp_path, plan):
    first = of(plan, "dsm", "quality") + of(plan, "dsm")
    write_lane(tmp_path, CostLane(planned=frozenset(t.id for t in of(plan, "dsm"))))
    assert len(left(tmp_path, plan, stored(first))) == 1 + 4
    one_again, other = of(plan, "dsm")
    rows = pd.concat([stored([*of(plan, "dsm", "quality"), other]), stored([one_again], attempt=2)])
    assert set(left(tmp_path, plan, rows)) == {*of(plan, "sm", "quality"), *of(plan, "sm"), other}
    assert read_lane(tmp_path).outdated == {t.id: 1 for t in of(plan, "dsm")}
