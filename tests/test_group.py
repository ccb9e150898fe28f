"""Trials trained in one program: their records are those of the trials alone, and say what is different."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ebmark import registry
from ebmark.api import Rng
from ebmark.execute import Place, execute, execute_together
from ebmark.record import TRIALS
from ebmark.trial import Budget, Trial

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
    return [execute(trial, HERE) for trial in asked], execute_together(asked, HERE, [1] * len(asked))


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
