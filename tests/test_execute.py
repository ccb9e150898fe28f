"""One trial: what its record says when all goes well, and for each way in which it does not."""

import json
import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from ebmark import registry
from ebmark.api import Energy, Rng
from ebmark.evaluate import points
from ebmark.execute import Place, execute, lost
from ebmark.metrics.fisher import fisher_divergence
from ebmark.ops import score
from ebmark.record import TRIALS
from ebmark.trial import Budget, Optimiser, Trial

BAD = Path(__file__).parent / "data" / "misbehaving.py"
HERE = Place(exclusive=True, env={"env": "test"})


def trial(method="nce", *, dataset=("gaussian", {}), network=("quadratic", {}), budget=None, **more):
    settings = more.pop("settings", {})
    return Trial(
        **{
            "seed": 0,
            "method": registry.ref("method", method, **settings),
            "dataset": registry.ref("dataset", dataset[0], **dataset[1]),
            "network": registry.ref("network", network[0], **network[1]),
            "budget": budget or Budget(steps=20, batch=32),
            "metrics": tuple(registry.ref("metric", name) for name in more.pop("metrics", ("fisher", "kl"))),
            **more,
        }
    )


def test_a_good_trial_is_counted_timed_and_evaluated():
    record = execute(trial(checkpoints=4), HERE)
    row = record.trial
    assert (row["status"], row["reason"], row["steps"]) == ("ok", "", 20)
    assert set(row) == set(TRIALS)
    assert row["passes"] == row["executed"] == 6 * 20 * 32
    assert row["passes_forward"] == 2 * 20 * 32
    assert row["noise_samples"] == 20 * 32
    assert row["transitions"] == 0
    phases = ("data", "sampling", "loss", "backward", "optimiser")
    assert math.isclose(row["wall"], sum(row[f"wall_{phase}"] for phase in phases))
    assert row["wall_evaluation"] > 0
    fisher = [point for point in record.curve if point["metric"] == "fisher"]
    assert [point["step"] for point in fisher] == sorted({point["step"] for point in fisher})
    assert (fisher[0]["step"], fisher[-1]["step"]) == (0, 20)
    assert fisher[-1]["passes"] == row["passes"]


def test_a_trial_that_was_killed_counts_at_its_dimension_and_took_its_time():
    """Else no table by dimension would charge it, and no forecast learn from it."""
    gone = lost(trial(dataset=("gaussian", {"dim": 32})), HERE, 1, "timeout", "killed", seconds=185.0).trial
    assert (gone["finished"] - gone["started"]).total_seconds() == pytest.approx(185, abs=1)
    assert abs((datetime.now(UTC) - gone["finished"]).total_seconds()) < 60
    assert (gone["dim"], gone["status"], gone["steps"]) == (32, "timeout", 0)
    assert lost(trial(dataset=("digits", {})), HERE, 1, "timeout", "killed").trial["dim"] is None


def perfect(dataset, **more):
    """The truth itself as the model, left alone for the one step."""
    known = {"settings": {"normaliser": "known"}, "network": ("truth", {"log_z": 3.0})}
    return trial("mle", dataset=dataset, budget=Budget(steps=1, batch=32), **known, **more)


def test_a_perfect_model_has_no_divergence_and_the_log_z_that_it_was_given():
    record = execute(perfect(("two_modes", {"dim": 2}), metrics=("fisher", "kl")), HERE)
    last = {point["metric"]: point for point in record.curve if point["step"] == 1}
    assert (record.trial["status"], record.trial["steps"]) == ("ok", 1)
    assert last["log_z_own"]["value"] == 3.0
    # float32 energies near 5 are rounded by 5e-7, and a quadrature adds nothing to that.
    for metric in ("kl", "fisher", "log_z_gap"):
        assert last[metric]["value"] == pytest.approx(0, abs=5e-6)
        assert last[metric]["trusted"]


def test_log_z_is_not_estimated_where_no_metric_needs_it():
    """Above d = 2 the gap to a learned constant would cost a sampler's run; the own divergence needs none."""
    unknown = {"network": ("mlp", {"width": 4}), "dataset": ("gaussian", {"dim": 3})}
    for metrics, names in (
        (("fisher", "kl_own"), {"fisher", "kl_own", "log_z_own"}),
        (("kl",), {"kl", "log_z_own", "log_z_gap"}),
    ):
        record = execute(trial(metrics=metrics, max_gradients=150_000, **unknown), HERE)
        rows = {point["metric"]: point for point in record.curve if point["step"] == 20}
        assert {name for name in rows if not name.startswith("log_") or "log_z" in name} == names
    assert rows["kl"]["gradients"] > 10_000
    # KL and the gap share one log Z, so that the divergence with the method's own is their difference.
    own = execute(trial(metrics=("kl", "kl_own"), max_gradients=150_000, **unknown), HERE)
    rows = {point["metric"]: point["value"] for point in own.curve if point["step"] == 20}
    assert rows["kl_own"] == pytest.approx(rows["kl"] - rows["log_z_gap"], abs=1e-9)


def test_a_budget_of_few_steps_ends_with_what_is_measured_at_the_end_only():
    """One step uses the budget up at the first checkpoint; samples and log Z above d = 2 are of the end."""
    record = execute(perfect(("two_modes", {"dim": 4}), metrics=("kl",), checkpoints=6), HERE)
    (kl,) = (point for point in record.curve if point["metric"] == "kl")
    assert kl["step"] == 1
    assert abs(kl["value"]) < 3.5 * kl["se"] < 0.35
    assert kl["gradients"] > 10_000


def test_an_untrusted_divergence_is_stored_as_an_interval():
    record = execute(perfect(("funnel", {"dim": 10}), metrics=("kl",), max_gradients=200_000), HERE)
    (kl,) = (point for point in record.curve if point["metric"] == "kl")
    assert not kl["trusted"]
    assert kl["lo"] < kl["value"] - kl["se"] < kl["value"] + kl["se"] < kl["hi"]
    assert "too stiff for the sampler's step" in kl["reasons"]


def test_the_truth_is_no_network_where_it_is_not_known():
    row = execute(perfect(("digits", {})), HERE).trial
    reason = "the network truth needs a known density; digits has none"
    assert (row["status"], row["reason"]) == ("skipped", reason)


def test_the_clock_stops_during_evaluation():
    """Twenty steps of a method that sleeps: evaluation, however long, is not training."""
    record = execute(trial(f"{BAD}:sleeps", settings={"seconds": 0.01}, metrics=("fisher", "kl")), HERE)
    assert record.trial["wall"] >= 19 * 0.01
    assert record.trial["wall_evaluation"] not in (0, None)
    assert record.trial["wall_loss"] / record.trial["wall"] > 0.5


def test_costly_metrics_are_taken_at_chosen_checkpoints_and_cheap_ones_at_all():
    metrics = ("fisher", "log_density_mse", "kl", "mode_weights")
    asked = trial(
        dataset=("two_modes", {"dim": 4}), metrics=metrics, checkpoints=4, costly=2, max_gradients=2e5
    )
    record = execute(asked, HERE)
    steps = {
        name: [point["step"] for point in record.curve if point["metric"] == name]
        for name in (*metrics, "log_loss")
    }
    # 20 steps at 1/128, 1/25, 1/5 and 1 of the budget; the second and the fourth are costly, but the first
    # step passes over the second, which is made up for at the third.
    assert steps["fisher"] == steps["log_density_mse"] == [0, 1, 4, 20]
    assert steps["log_loss"] == [1, 4, 20]
    assert steps["kl"] == steps["mode_weights"] == [4, 20]
    spent = [point["gradients"] for point in record.curve if point["metric"] == "kl"]
    assert all(0 < gradients <= 201_000 for gradients in spent)


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("explodes", "diverged", "the loss of energy is nan at step 1"),
        ("raises", "crashed", "RuntimeError: first line"),
        ("hoards", "oom", "memory"),
    ],
)
def test_a_failure_is_a_row_with_a_reason(method, status, reason):
    row = execute(trial(f"{BAD}:{method}"), HERE).trial
    assert row["status"] == status
    assert reason in row["reason"]
    assert "\n" not in row["reason"]
    assert row["steps"] == 0
    assert bool(row["traceback"]) == (status != "diverged")
    refused = '[{"gradient":null,"loss":"nan","player":"energy","step":1}]'
    assert row["last_steps"] == (refused if status == "diverged" else None)


def test_a_deadline_is_a_timeout_with_the_curve_so_far():
    record = execute(
        trial(f"{BAD}:sleeps", settings={"seconds": 0.02}, budget=Budget(steps=10_000), timeout=0.5), HERE
    )
    assert record.trial["status"] == "timeout"
    assert 1 <= record.trial["steps"] < 100
    assert {point["step"] for point in record.curve} == {0}


def test_a_method_declines_with_its_reason():
    row = execute(trial("sm", network=("mlp", {"activation": "relu"})), HERE).trial
    assert row["status"] == "skipped"
    assert "second derivatives" in row["reason"]


def test_the_same_trial_gives_the_same_numbers():
    a, b = (execute(trial("cd", settings={"k": 2}), HERE) for _ in range(2))
    timing = {name for name, column in TRIALS.items() if column.timing}
    assert {k: v for k, v in a.trial.items() if k not in timing} == {
        k: v for k, v in b.trial.items() if k not in timing
    }
    assert [(c["metric"], c["value"]) for c in a.curve] == [(c["metric"], c["value"]) for c in b.curve]
    assert a.model == b.model


def untrained(name):
    return trial(name, network=("mlp", {}), budget=Budget(steps=1))


def test_data_and_weights_do_not_depend_on_the_method():
    """Comparisons are paired: before the first step every method has the same error."""
    start = {
        next(c["value"] for c in execute(untrained(name), HERE).curve if c["metric"] == "fisher")
        for name in ("nce", "dsm", "cd")
    }
    assert len(start) == 1


def test_metrics_are_not_part_of_the_id_but_everything_trained_is():
    base = trial()
    assert trial(metrics=("kl",), checkpoints=3, timeout=9.0, study="x").id == base.id
    assert trial(costly=3, max_gradients=2e5).id == base.id
    assert base.id == "5938a73e0f72d0b9"  # an id of a stored result never changes
    others = [trial("dsm"), trial(seed=1), trial(budget=Budget(steps=21, batch=32)), trial(lane="cost")]
    assert len({base.id, *(other.id for other in others)}) == 5
    assert trial("cd", settings={"k": 1}).id == trial("cd").id


def test_a_budget_in_passes_is_kept_to_a_step():
    row = execute(trial(budget=Budget(passes=10_000, batch=32)), HERE).trial
    assert row["steps"] == 10_000 // (6 * 32)
    assert 10_000 - 6 * 32 < row["passes"] <= 10_000


def test_the_cost_lane_measures_steps_and_evaluates_nothing():
    record = execute(trial(lane="cost", budget=Budget(seconds=0.2)), HERE)
    row = record.trial
    assert record.curve == ()
    assert 0 < row["step_seconds"] < 0.2
    assert row["wall"] >= 0.2
    # The median step explains the clock, and whatever else a loaded machine does the processor's.
    assert 0.3 * row["cpu"] < row["step_seconds"] * row["steps"] < 1.1 * row["wall"]


def test_a_cells_operations_are_counted_in_its_first_repeat_and_leave_the_trial_alone():
    """A product with a 2 x 2 matrix is 8: 6 F of it per datum, and as many again to draw and weigh noise."""
    first, second, plain = (
        execute(trial(lane=lane, repeat=repeat, budget=Budget(steps=8, batch=32)), HERE).trial
        for lane, repeat in (("cost", 0), ("cost", 1), ("quality", 0))
    )
    assert second["flops"] is plain["flops"] is None
    assert [row["steps"] for row in (first, second, plain)] == [8, 8, 8]
    assert first["flops"] == 8 * 32 * (6 + 1 + 2)
    assert plain["meter_share"] is None and math.isfinite(first["meter_share"])


def test_resolved_settings_are_recorded_and_defaults_are_not_resolved_in_the_id():
    asked = trial("dsm")
    row = execute(asked, HERE).trial
    assert json.loads(asked.method.args)["sigma"] == "auto"
    assert json.loads(row["resolved"])["sigma"] == pytest.approx(0.05, rel=0.05)  # 0.05 sd of N(0, I)
    assert json.loads(row["optimiser"])["energy"]["lr"] == 1e-3


def test_a_stored_model_gives_the_energy_back():
    from safetensors.torch import load

    asked = trial("nce", network=("mlp", {}))
    record = execute(asked, HERE)
    tensors = load(record.model)
    dataset = registry.make(asked.dataset)
    held_out = points(asked, dataset, torch.device("cpu")).test
    module = registry.make(asked.network).build(held_out, Rng.of("any"))
    network = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    module.load_state_dict(network)
    fisher = [point["value"] for point in record.curve if point["metric"] == "fisher"]
    with torch.no_grad():
        again = fisher_divergence(score(Energy(module), held_out), dataset.score(held_out))
    assert again.value == fisher[-1]
    assert "params.energy.c" in tensors
    assert any(name.startswith("buffers.") for name in tensors)


def test_the_likelihood_of_a_network_that_may_not_be_normalisable_is_not_trusted():
    curve = execute(trial("nce", network=("mlp", {"base": False}), metrics=("nll", "fisher")), HERE).curve
    nll = [point for point in curve if point["metric"] == "nll"]
    assert not any(point["trusted"] for point in nll)
    assert all("may be infinite" in point["reasons"] for point in nll)
    assert all(point["trusted"] for point in curve if point["metric"] == "fisher")


@pytest.mark.parametrize(("metrics", "gradients"), [(("kl",), False), (("kl", "mmd"), True)])
def test_a_known_log_z_is_used_at_every_checkpoint_unless_samples_are_drawn(metrics, gradients):
    """At the start KL(N(0, Σ) | N(0, a² I)) has a closed form; where samples are drawn, so is log Z."""
    d, start = 4, 2.0
    target = ("gaussian", {"dim": d, "condition": 10.0})
    made = trial(dataset=target, network=("quadratic", {"start": start}), metrics=metrics, checkpoints=3)
    record = execute(made, HERE)
    kl = [point for point in record.curve if point["metric"] == "kl"]
    assert [point["step"] for point in kl] == ([20] if gradients else [0, 1, 2, 20])
    assert (sum(point["gradients"] for point in kl) > 0) == gradients
    if not gradients:
        dataset = registry.make(made.dataset)
        data = points(made, dataset, torch.device("cpu"))
        a2 = start**2 * data.train.double().var(0).mean()
        exact = 0.5 * ((dataset.covariance / a2).trace() - d - (dataset.covariance / a2).logdet())
        assert abs(kl[0]["value"] - exact.item()) < 4 * kl[0]["se"] < 0.2


def test_a_cost_trial_that_diverges_is_a_row():
    steep = {"lr": 1e30, "schedule": "constant"}
    row = execute(trial("dsm", lane="cost", network=("mlp", {}), optimiser=Optimiser(**steep)), HERE).trial
    assert row["status"] == "diverged" and " at step " in row["reason"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot bind a process to a core here")
def test_a_busy_second_process_makes_every_timing_untrusted():
    spin = "import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    cores = os.sched_getaffinity(0)
    rival = subprocess.Popen([sys.executable, "-c", spin, str(min(cores))])
    try:
        os.sched_setaffinity(0, {min(cores)})
        time.sleep(0.3)
        rows = [execute(trial(lane="cost", budget=Budget(seconds=0.3)), HERE).trial for _ in range(4)]
    finally:
        os.sched_setaffinity(0, cores)
        rival.kill()
        rival.wait()
    assert [row["trusted"] for row in rows] == 4 * [False]
    assert all("other processes used" in row["distrust"] for row in rows)


def test_trials_leave_torch_without_a_default_device():
    """With one, every call of torch takes a way through Python, and all later trials are slower."""
    modes = torch._C._len_torch_function_stack
    before = modes()
    execute(trial(), HERE)
    assert modes() == before == 0
