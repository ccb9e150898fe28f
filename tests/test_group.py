"""Trials trained in one program: their records are those of the trials alone, and say what is different."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ebmark import registry
from ebmark.api import Rng
from ebmark.execute import Place, execute, execute_together
from ebmark.grouping import way
from ebmark.record import TRIALS
from ebmark.runners import Job, grouped
from ebmark.store import read
from ebmark.trial import Budget, Optimiser, Trial
from tests.study_text import study_text

BAD = Path(__file__).parent / "data" / "misbehaving.py"
HERE = Place(exclusive=True, env={"env": "test"})


@pytest.fixture
def double(monkeypatch):
    """Every stream draws in float64, and with it everything is float64."""
    of = Rng.of.__func__

    def wide(cls, *key, device="cpu", dtype=None):
        return of(cls, *key, device=device, dtype=torch.float64)

    monkeypatch.setattr(Rng, "of", classmethod(wide))


def trials(method, *, seeds=3, settings=None, network=("mlp", {"width": 16}), **more):
    made = Trial(
        **{
            "seed": 0,
            "method": registry.ref("method", method, **(settings or {})),
            "dataset": registry.ref("dataset", "gaussian", dim=2),
            "network": registry.ref("network", network[0], **network[1]),
            "budget": Budget(steps=40, batch=32),
            "metrics": tuple(registry.ref("metric", name) for name in ("fisher", "kl")),
            "checkpoints": 2,
            **more,
        }
    )
    return [replace(made, seed=seed) for seed in range(seeds)]


def both(asked):
    return [execute(trial, HERE) for trial in asked], list(execute_together(asked, HERE, [1] * len(asked)))


def assert_same(alone, together):
    """All that does not name time or machine: exactly, but for rounding in numbers."""
    columns = [name for name, column in TRIALS.items() if not column.timing]
    assert {c: together.trial[c] for c in columns} == {c: alone.trial[c] for c in columns}
    where = ("step", "passes", "metric", "source", "trusted")
    assert [[p[c] for c in where] for p in together.curve] == [[p[c] for c in where] for p in alone.curve]
    for one, other in zip(alone.curve, together.curve, strict=True):
        assert other["value"] == pytest.approx(one["value"], rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("method", "settings"), [("dsm", {}), ("pcd", {"k": 2, "capacity": 64})])
def test_records_are_those_of_trials_alone(double, method, settings):
    asked = trials(method, settings=settings, pictures=True)
    for alone, together in zip(*both(asked), strict=True):
        assert_same(alone, together)
        assert (alone.trial["together"], together.trial["together"]) == (1, 3)
        assert together.trial["trusted"] is False
        assert "trained together with 2 other seeds" in together.trial["distrust"]
        assert len(together.samples) == len(alone.samples) > 0
        assert len(together.model) == len(alone.model)


def test_each_seed_diverges_at_its_own_step_and_the_others_go_on(double):
    asked = trials(f"{BAD}:bursts", seeds=8)
    pairs = list(zip(*both(asked), strict=True))
    for alone, together in pairs:
        assert_same(alone, together)
        assert together.trial["together"] == 8
    for together in (together for _, together in pairs if together.trial["status"] == "diverged"):
        steps = [row["step"] for row in json.loads(together.trial["last_steps"])]
        end = together.trial["steps"] + 1
        assert steps == list(range(max(1, end - 19), end + 1))
    ends = {together.trial["steps"] for _, together in pairs if together.trial["status"] == "diverged"}
    assert len(ends) > 2
    assert {together.trial["status"] for _, together in pairs} == {"ok", "diverged"}


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("lsd", {}),  # two players
        (f"{BAD}:peeks", {}),
        (f"{BAD}:mixes", {}),
        ("nce", {"optimiser": Optimiser(name="normalised_sgd", lr=0.1)}),
        ("nce", {"budget": Budget(seconds=0.05, batch=32)}),
        ("sm", {"network": ("mlp", {"activation": "relu"})}),  # skipped
    ],
    ids=str,
)
def test_what_cannot_train_together_trains_one_by_one(double, method, more):
    asked = trials(method, seeds=2, metrics=(), **more)
    alone, together = both(asked)
    assert [record.trial["together"] for record in together] == [1, 1]
    assert [r.trial["status"] for r in together] == [r.trial["status"] for r in alone]
    if asked[0].budget.seconds is None:
        assert [r.model for r in together] == [r.model for r in alone]


def test_networks_without_stacked_parameters_are_mapped():
    assert way(trials("nce")[0]) == "stacked"
    assert way(trials("fd_ssm", network=("chain", {}))[0]) == "stacked"  # its last bias sees rounding alone
    image = replace(trials("nce")[0], dataset=registry.ref("dataset", "gaussian", dim=9))
    assert way(replace(image, network=registry.ref("network", "conv", channels=4, depth=1))) == "mapped"
    assert way(trials(f"{BAD}:mixes")[0]) == ""


def test_a_group_has_the_sum_of_its_times(double):
    budget = Budget(steps=10_000, batch=32)
    asked = trials(f"{BAD}:sleeps", settings={"seconds": 0.02}, budget=budget, timeout=0.3, metrics=())
    rows = [record.trial for record in execute_together(asked, HERE, [1, 1, 1])]
    assert [row["reason"].split(" passed")[0] for row in rows] == 3 * ["0.9 s for 3 trials"]
    assert {row["status"] for row in rows} == {"timeout"}
    assert len({row["steps"] for row in rows}) == 1
    assert sum(row["wall"] + row["first_call"] for row in rows) > 0.8  # one trial alone has 0.3


def test_groups_keep_the_order_of_jobs_and_never_mix_cells():
    a, b = trials("nce", seeds=5), trials("cd", seeds=5)
    cost = [replace(trial, lane="cost") for trial in a[:2]]
    jobs = [Job(trial=trial) for pair in zip(a, b, strict=True) for trial in pair] + [
        Job(trial=t) for t in cost
    ]
    found = [[(job.trial.method.name, job.trial.seed) for job in group] for group in grouped(jobs, 3)]
    first, second = (0, 1, 2), (3, 4)
    assert found == [
        [("nce", s) for s in first],
        [("cd", s) for s in first],
        [("nce", s) for s in second],
        [("cd", s) for s in second],
        [("nce", 0)],
        [("nce", 1)],
    ]
    assert [group[0] for group in grouped(jobs, 1)] == jobs


SPEC = (
    study_text(methods={"nce": {}, "lsd": {}}, seeds=4, steps=30, batch=32, checkpoints=2)
    + "[resources]\nseeds_together = 3\n"
)


def test_a_study_resumes_by_trial_and_its_seeds_train_together(cli, tmp_path):
    (tmp_path / "small.toml").write_text(SPEC.replace("seeds = 4", "seeds = [1]"))
    cli("run", "small.toml", "-o", "out", "--runner", "serial")
    (tmp_path / "small.toml").write_text(SPEC)
    rest = cli("run", "small.toml", "-o", "out", "--runner", "serial", "--json")
    assert json.loads(rest.stdout)["trained"] == 6
    assert together(tmp_path / "out") == {("nce", 0): 3, ("nce", 1): 1, ("nce", 2): 3, ("nce", 3): 3} | LSD


def test_a_task_of_ray_gives_a_record_for_each_seed(cli, tmp_path):
    (tmp_path / "small.toml").write_text(SPEC)
    run = cli("run", "small.toml", "-o", "out", "--jobs", 1)
    assert run.returncode == 0, run.stderr
    assert together(tmp_path / "out") == {("nce", 0): 3, ("nce", 1): 3, ("nce", 2): 3, ("nce", 3): 1} | LSD


LSD = {("lsd", seed): 1 for seed in range(4)}


def together(folder):
    """How many trials shared the program of each, by method and seed."""
    return read(folder).trials.set_index(["method", "seed"])["together"].to_dict()
