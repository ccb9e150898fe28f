"""What needs a CUDA device: trials end to end, a clock that is the device's, its memory, one trial each."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ebmark import registry
from ebmark.api import Rng
from ebmark.execute import Place, execute
from ebmark.meter import Meter
from ebmark.stream import Batches
from ebmark.train import LOOK, DivergedError, Training
from ebmark.trial import Budget, Optimiser, Trial
from ebmark.trust import Watch

pytestmark = pytest.mark.gpu

HERE = Place(device="cuda", exclusive=True, env={"env": "test"})
MIB = 2**20
STUDY = """
name = "gpu"
seeds = 2
metrics = ["fisher"]

[budget]
steps = 20
batch = 64
checkpoints = 1

[network]
name = "mlp"

[[methods]]
name = "dsm"

[[datasets]]
name = "gaussian"

[resources]
gpus = 1
"""


def trial(method: str, *, lane: str = "quality", budget: Budget, **settings: Any) -> Trial:
    return Trial(
        seed=0,
        lane=lane,
        method=registry.ref("method", method, **settings),
        dataset=registry.ref("dataset", "gaussian", dim=4, condition=3.0),
        network=registry.ref("network", "mlp", width=32, depth=2),
        budget=budget,
        metrics=tuple(registry.ref("metric", name) for name in ("fisher", "kl", "mmd", "sliced_wasserstein")),
        checkpoints=2,
    )


@pytest.mark.parametrize(
    ("method", "settings"),
    [("cd", {"k": 2}), ("sm", {}), ("dsm", {}), ("nce", {"scale": 1.5}), ("fce", {"flow": "affine"})],
)
def test_a_trial_runs_from_end_to_end(method: str, settings: dict[str, Any]):
    """The same work as on the CPU, and a better model than at the start."""
    asked = trial(method, budget=Budget(steps=300, batch=128), **settings)
    record = execute(asked, HERE)
    row = record.trial
    assert (row["status"], row["reason"], row["device"]) == ("ok", "", "cuda")
    fisher = [point["value"] for point in record.curve if point["metric"] == "fisher"]
    assert fisher[-1] < fisher[0]
    assert {"kl", "mmd", "sliced_wasserstein"} <= {point["metric"] for point in record.curve}
    assert record.model is not None
    if method != "fce":  # who moves there follows the numbers, which differ by device
        there = execute(asked, Place(env={"env": "test"})).trial
        assert {name: row[name] for name in row if name.startswith("passes")} == {
            name: there[name] for name in there if name.startswith("passes")
        }


def test_the_cost_lane_reads_the_devices_clock():
    begin = time.perf_counter()
    row = execute(trial("dsm", lane="cost", budget=Budget(seconds=0.5)), HERE).trial
    elapsed = time.perf_counter() - begin
    assert row["status"] == "ok" and 0.5 <= row["wall"] <= elapsed
    assert row["step_seconds"] * row["steps"] == pytest.approx(row["wall"], rel=0.5)
    assert row["flops"] > 0 and math.isfinite(row["meter_share"])


def test_a_phase_lasts_as_long_as_the_device_works_for_it():
    """The host queues both sleeps at once: its own clock would give all of the time to whoever waits."""
    meter, cycles = Meter("cuda"), 20_000_000
    torch.cuda.synchronize()
    begin = time.perf_counter()
    with meter.phase("loss"):
        torch.cuda._sleep(cycles)
        with meter.phase("sampling"):
            torch.cuda._sleep(3 * cycles)
    queued = time.perf_counter() - begin
    seconds = meter.seconds
    waited = time.perf_counter() - begin
    assert queued < 0.5 * waited, "a change of phase does not wait"
    assert seconds["sampling"] / seconds["loss"] == pytest.approx(3, rel=0.2)
    assert sum(seconds.values()) == pytest.approx(waited, rel=0.2)


def test_peak_memory_is_the_allocators_and_that_of_the_trial():
    with Watch("cuda") as large:
        block = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")
        del block
    with Watch("cuda") as small:
        pass
    assert large.peak_memory - small.peak_memory == pytest.approx(64 * MIB, rel=0.05)


def test_a_loss_that_diverges_is_blamed_on_its_own_step():
    target = registry.make(registry.ref("dataset", "gaussian"))
    data = target.sample(200, Rng.of("data", device="cuda"))
    module = registry.make(registry.ref("network", "mlp", width=8, depth=1)).build(
        data, Rng.of("weights", device="cuda")
    )
    method = registry.make(registry.ref("method", "dsm", sigma=0.1))
    stream = Batches(target, 32, None, data, Rng.of("stream", device="cuda"))
    rng = Rng.of("method", device="cuda")
    run = Training(method, module, data, stream, rng, Budget(steps=100, batch=32), Optimiser())
    for _ in range(LOOK + 2):
        run.step()
    with torch.no_grad():
        next(module.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match=f"the loss of energy is nan at step {LOOK + 3}"):
        for _ in range(LOOK):
            run.step()


def test_a_study_that_asks_for_a_gpu_gets_one_for_each_trial(cli: Any, tmp_path: Path):
    (tmp_path / "gpu.toml").write_text(STUDY)
    done = cli("run", tmp_path / "gpu.toml", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(tmp_path / "out" / "trials")
    assert set(trials["device"]) == {"cuda"} and set(trials["status"]) == {"ok"}
