"""Nothing that a trial computes mixes tensors of its device with those of the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ebmark import registry
from ebmark.execute import Place, execute
from ebmark.record import Record
from ebmark.trial import Budget, Trial
from tests.elsewhere import Remote, elsewhere

QUICK = {"mle": {"points": 2}, "short_run": {"k": 2}, "recovery": {"K": 2}, "pcd": {"k": 1}, "cd": {"k": 2}}
SAMPLED = ("kl", "reverse_kl", "mmd", "energy_distance", "sliced_wasserstein", "coverage", "c2st")


def run(method: str, *, d: int = 2, metrics: tuple[str, ...] = ("fisher",), **settings: Any) -> Record:
    """Three steps and an evaluation on the device."""
    asked = Trial(
        seed=0,
        method=registry.ref("method", method, **settings),
        dataset=registry.ref("dataset", "gaussian", dim=d),
        network=registry.ref("network", "mlp", width=8, depth=2),
        budget=Budget(steps=3, batch=16),
        metrics=tuple(registry.ref("metric", name) for name in metrics),
        checkpoints=1,
        max_gradients=90_000,  # of the sampler of log Z, about the least: what it finds is of no interest
    )
    with elsewhere() as device:
        return execute(asked, Place(device=device, env={"env": "test"}))


def test_the_device_keeps_its_tensors_apart():
    with elsewhere() as device:
        there = torch.ones(3, device=device)
        assert isinstance(there * 2 + torch.tensor(1.0), Remote)
        assert (2 * there).sum().item() == 6 and (there + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="meets one of the host"):
            there + torch.ones(3)
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


@pytest.mark.parametrize("method", registry.names("method"))
def test_a_method_trains_on_a_device(method: str):
    row = run(method, **QUICK.get(method, {})).trial
    assert (row["status"], row["reason"], row["steps"]) == ("ok", "", 3)


@pytest.mark.slow
def test_densities_and_samples_are_judged_on_a_device():
    record = run("dsm", d=4, metrics=SAMPLED)
    assert (record.trial["status"], record.trial["reason"]) == ("ok", "")
    assert {point["metric"] for point in record.curve} >= set(SAMPLED)
