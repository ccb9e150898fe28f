"""Saved states: a trial that was interrupted and went on ends as one that was not, bit for bit."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from ebmark import registry
from ebmark.execute import Place, execute
from ebmark.meter import HostClock
from ebmark.record import CURVE, TRIALS
from ebmark.saves import Saves, saved_path
from ebmark.store import read
from ebmark.train import Training
from ebmark.trial import Budget, Optimiser, Trial

ENV = {"env": "test"}
# Chains and buffers, a learned constant, opponents with a schedule, epochs over a training set, a cosine.
CASES = {
    "cd": {"settings": {"k": 2, "sampler": "mala"}},
    "pcd": {"settings": {"k": 2}},
    "nce": {"network": "mlp", "args": {"width": 8, "depth": 1}},
    "fce": {"settings": {"flow": "affine"}},
    "adversarial": {"settings": {"flow": "affine"}},
    "lsd": {"network": "mlp", "args": {"width": 8, "depth": 1}},
    "dsm": {"more": {"n_train": 100, "optimiser": Optimiser(schedule="constant")}},
}


def trial(method="dsm", *, settings=None, network="quadratic", args=None, more=None):
    return Trial(
        **{
            "seed": 3,
            "method": registry.ref("method", method, **(settings or {})),
            "dataset": registry.ref("dataset", "gaussian"),
            "network": registry.ref("network", network, **(args or {})),
            "budget": Budget(steps=40, batch=16),
            "metrics": (registry.ref("metric", "fisher"), registry.ref("metric", "kl")),
            "checkpoints": 4,
            "costly": 2,
            **(more or {}),
        }
    )


def interrupted(monkeypatch, asked, place, after):
    """Runs an attempt up to a step at which its process dies."""

    class KilledError(KeyboardInterrupt):
        """As if by the kernel: nothing of the attempt handles it."""

    def step(self, real=Training.step):
        if self.steps == after:
            raise KilledError
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", step)
        with pytest.raises(KilledError):
            execute(asked, place)


@pytest.fixture
def place(tmp_path):
    return Place(env=ENV, saves=Saves(folder=str(tmp_path), every=0))


def reproducible(record):
    trial = {name: record.trial[name] for name, column in TRIALS.items() if not column.timing}
    curve = [{name: row[name] for name, column in CURVE.items() if not column.timing} for row in record.curve]
    return trial, curve


@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_trial_ends_as_if_nothing_had_happened(name, place, monkeypatch):
    asked = trial(name, **CASES[name])
    whole = execute(asked, Place(env=ENV))
    for after in (7, 23, 24):  # between two evaluations, twice in one process's life, one step later
        interrupted(monkeypatch, asked, place, after)
    record = execute(asked, place)
    assert (whole.trial["status"], whole.trial["continued"], whole.trial["attempt"]) == ("ok", 0, 1)
    assert (record.trial["continued"], record.trial["attempt"]) == (24, 4)
    assert record.trial["distrust"].startswith("continued after 24 steps of an earlier attempt")
    assert reproducible(record) == reproducible(whole)
    one, other = load(whole.model), load(record.model)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_divergence_tells_of_steps_before_the_interruption_too(place, monkeypatch):
    asked = trial("lsd", **CASES["lsd"])
    calls = Training.step

    def breaks(self):
        if self.steps == 30:
            with torch.no_grad():
                next(self.module.parameters()).fill_(math.nan)
        calls(self)

    monkeypatch.setattr(Training, "step", breaks)
    whole = execute(asked, Place(env=ENV))
    interrupted(monkeypatch, asked, place, 25)
    record = execute(asked, place)
    assert (record.trial["status"], record.trial["continued"]) == ("diverged", 25)
    assert next(row["step"] for row in json.loads(record.trial["last_steps"])) == 12
    assert reproducible(record) == reproducible(whole)


def test_seconds_are_those_of_the_parts(place, monkeypatch):
    """On a clock that ticks once per look both take the same time, saving and what was lost left out."""
    ticks = 0

    def mark(self):
        nonlocal ticks
        ticks += 1
        return float(ticks)

    monkeypatch.setattr(HostClock, "mark", mark)
    asked = trial("cd")
    whole = execute(asked, Place(env=ENV)).trial
    interrupted(monkeypatch, asked, place, 17)
    parts = execute(asked, place).trial
    names = [name for name in TRIALS if name.startswith("wall")] + ["first_call"]
    assert {name: parts[name] for name in names} == {name: whole[name] for name in names}
    assert whole["wall"] > 0


def test_the_time_limit_and_the_cpu_seconds_go_on(place, monkeypatch, tmp_path):
    asked = trial(more={"timeout": 1000.0})
    interrupted(monkeypatch, asked, place, 20)
    change(saved_path(tmp_path, asked.id), seconds=990.0, cpu=500.0)
    record = execute(asked, place)
    assert record.trial["status"] == "ok"
    assert 500 < record.trial["cpu"] < 510
    saved_path(tmp_path, asked.id).unlink()
    interrupted(monkeypatch, asked, place, 30)
    change(saved_path(tmp_path, asked.id), seconds=1001.0)
    late = execute(asked, place)
    assert (late.trial["status"], late.trial["reason"]) == ("timeout", "1000 s passed after 31 steps")


def change(path, **values):
    """Rewrites values of a saved state's header."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    save_file(tensors, path, {"state": json.dumps({**header, **values})})


@pytest.mark.parametrize("key", ["version", "trial", "code", "torch", "device"])
def test_a_state_of_other_code_or_another_kind_of_device_is_left_alone(key, place, monkeypatch, tmp_path):
    asked = trial()
    interrupted(monkeypatch, asked, place, 20)
    change(saved_path(tmp_path, asked.id), **{key: "another"})
    assert execute(asked, place).trial["continued"] == 0


def test_other_metrics_are_not_mixed_into_one_curve(place, monkeypatch):
    asked, other = trial(), trial(more={"metrics": (registry.ref("metric", "fisher"),)})
    assert asked.id == other.id
    interrupted(monkeypatch, asked, place, 20)
    assert execute(other, place).trial["continued"] == 0


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_state_is_left_alone(damage, place, monkeypatch, tmp_path):
    asked = trial()
    interrupted(monkeypatch, asked, place, 20)
    path = saved_path(tmp_path, asked.id)
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    record = execute(asked, place)
    assert (record.trial["status"], record.trial["continued"]) == ("ok", 0)


def test_short_trials_timed_ones_and_nodes_without_the_folder_save_nothing(place, tmp_path):
    execute(trial(), Place(env=ENV, saves=Saves(folder=str(tmp_path), every=60)))
    timed = {"lane": "cost", "budget": Budget(seconds=0.01, batch=16), "metrics": ()}
    assert execute(trial(more=timed), place).trial["status"] == "ok"
    assert not list(tmp_path.iterdir())
    elsewhere = Place(env=ENV, saves=Saves(folder=str(tmp_path / "elsewhere"), every=0))
    assert execute(trial(), elsewhere).trial["status"] == "ok"
    assert not list(tmp_path.iterdir())


def test_a_trial_that_cannot_be_saved_goes_on(place, tmp_path):
    (tmp_path / ".going").write_text("a file where the folder should be")
    record = execute(trial(), place)
    assert (record.trial["status"], record.trial["steps"]) == ("ok", 40)


def test_a_budget_in_seconds_counts_those_before(place, monkeypatch):
    asked = trial(more={"budget": Budget(seconds=0.1, batch=16), "checkpoints": 1})
    interrupted(monkeypatch, asked, place, 30)
    record = execute(asked, place).trial
    assert record["continued"] == 30
    assert math.isclose(record["wall"], 0.1, rel_tol=0.5)


SPEC = """
name = "long"
pictures = false
metrics = ["fisher"]
[budget]
steps = 400
batch = 16
checkpoints = 2
[network]
name = "quadratic"
[[methods]]
name = "{plugin}:waits"
seconds = 0.01
[[datasets]]
name = "gaussian"
[resources]
save_every = 0.2
"""


def test_a_run_whose_driver_is_killed_goes_on_where_it_was_saved(cli, tmp_path):
    plugin = Path(__file__).parent / "data" / "waits.py"
    (tmp_path / "long.toml").write_text(SPEC.format(plugin=plugin))
    command = [sys.executable, "-m", "ebmark", "run", "long.toml", "-o", "out"]
    going = tmp_path / "out" / ".going"
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(going.glob("*.safetensors")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.wait()
    # Another runner: what was saved is not the runner's, and no second Ray has to start.
    assert cli("run", "long.toml", "-o", "out", "--runner", "serial").returncode == 0
    (row,) = read(tmp_path / "out").trials.to_dict("records")
    assert (row["status"], row["steps"], row["attempt"]) == ("ok", 400, 2)
    assert 0 < row["continued"] < 400
    assert 399 * 0.01 < row["wall"] + row["first_call"] < 400 * 0.02 + 1
    assert not going.exists()
