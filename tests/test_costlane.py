"""The cost lane is repeated whole when a study grows, and resumed when a run was interrupted."""

from __future__ import annotations

import json
from collections import Counter

import pandas as pd

from ebmark.costlane import cost_since, last_plan, write_plan
from ebmark.drive import missing
from ebmark.store import read
from ebmark.study import load

SPEC = """
name = "grow"
seeds = 1
metrics = ["fisher"]
[budget]
steps = 3
batch = 8
checkpoints = 1
[network]
name = "quadratic"
[[methods]]
name = "dsm"
[[datasets]]
name = "gaussian"
dim = 2
[cost]
repeats = 2
seconds = 0.02
"""
MORE = '\n[[methods]]\nname = "sm"\n'


def test_a_study_that_grows_repeats_its_cost_lane_whole(cli, tmp_path):
    path = tmp_path / "grow.toml"
    path.write_text(SPEC)
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


def test_an_interrupted_run_resumes_its_cost_lane(tmp_path):
    (tmp_path / "grow.toml").write_text(SPEC + MORE)
    plan = load(tmp_path / "grow.toml").trials()
    write_plan(tmp_path, plan, None)
    assert last_plan(tmp_path) == [trial.id for trial in plan]
    half = [trial.id for trial in plan if trial.lane == "quality" or trial.method.name == "dsm"]
    assert cost_since(tmp_path, plan, half) is None
    now = pd.Timestamp.now(tz="UTC")
    stored = pd.DataFrame({"id": half, "status": "ok", "attempt": 1, "finished": now})
    assert {job.trial.method.name for job in missing(plan, stored)} == {"sm"}


def test_a_run_killed_while_it_repeats_the_lane_goes_on_repeating(tmp_path):
    (tmp_path / "grow.toml").write_text(SPEC + MORE)
    plan = load(tmp_path / "grow.toml").trials()
    first = [trial for trial in plan if trial.method.name == "dsm"]
    write_plan(tmp_path, first, None)
    old = pd.Timestamp.now(tz="UTC")
    stored = pd.DataFrame({"id": [t.id for t in first], "status": "ok", "attempt": 1, "finished": old})
    since = cost_since(tmp_path, plan, list(stored["id"]))
    assert since is not None
    write_plan(tmp_path, plan, since)
    assert cost_since(tmp_path, plan, list(stored["id"])) == since
    left = missing(plan, stored, since=since)
    assert {job.trial.id for job in left if job.trial.lane == "cost"} == {
        trial.id for trial in plan if trial.lane == "cost"
    }
    assert [job.trial.method.name for job in left if job.trial.lane == "quality"] == ["sm"]
