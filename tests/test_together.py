"""Runs side by side are the runs alone: every method with one player, to 1e-10 in float64 over 50 steps."""

import pytest
import torch

from ebmark import registry
from ebmark.api import Each, Rng, pick, resolve
from ebmark.stream import Batches
from ebmark.together import Together
from ebmark.train import Training
from ebmark.trial import Budget, Optimiser

SEEDS, STEPS, BATCH = 2, 50, 32
ONE_PLAYER = [
    name for name in registry.names("method") if set(registry.get("method", name).players) == {"energy"}
]
NETWORKS = {
    "mlp": (2, {"width": 16, "depth": 2}),
    "quadratic": (3, {}),
    "chain": (4, {"width": 8}),
    "experts": (3, {"shape": "free", "width": 8}),
    "conv": (4, {"channels": 4, "depth": 1}),
}
SHORT = {"recovery": {"K": 3, "levels": 3}, "short_run": {"k": 5}, "pcd": {"k": 2, "capacity": 64}}
MORE = [
    ("recovery", SHORT["recovery"], "chain"),
    ("cnce", {}, "chain"),
    ("cd", {"k": 3, "sampler": "ula"}, "mlp"),
    ("cd", {"k": 2, "sampler": "hmc"}, "chain"),
    ("pcd", {"capacity": 64, "sampler": "ula"}, "quadratic"),
    ("dsm", {"levels": 3}, "experts"),
    ("nce", {"noise": "uniform", "nu": 2}, "chain"),
    ("snl", {"noise": "mixture"}, "quadratic"),
    ("mle", {"normaliser": "known"}, "quadratic"),
    ("sm", {}, "conv"),
    ("nce", {}, "conv"),
    ("cd", {}, "conv"),
]


def run(method, settings, network, seed, *, budget=None, optimiser=None):
    """A training in float64 before its first step, with streams of its seed."""
    d, args = NETWORKS[network]

    def stream(purpose):
        return Rng.of(purpose, seed, dtype=torch.float64)

    dataset = registry.get("dataset", "gaussian")(dim=d, condition=3.0)
    data = dataset.sample(500, stream("train"))
    made = resolve(registry.get("method", method)(**settings), data)
    heads = {"heads": made.heads(d)} if made.heads(d) > 1 else {}
    module = registry.get("network", network)(**args).build(data, stream("weights"), **heads)
    batch = Batches(dataset, BATCH, None, data, stream("data"))
    budget = budget or Budget(steps=STEPS, batch=BATCH)
    return Training(made, module, data, batch, stream("method"), budget, optimiser or Optimiser())


def both(method, settings, network, **more):
    """The same runs, alone and together, before their first step."""
    alone, beside = ([run(method, settings, network, seed, **more) for seed in range(SEEDS)] for _ in "ab")
    return alone, beside, Together(beside, mapped=network == "conv")


def assert_same(alone, beside):
    """Parameters, buffers, diagnostics and counts."""
    for name, p in alone.module.named_parameters():
        # Where a constant in E cancels, the last bias has no gradient but rounding, which Adam blows up.
        if p.grad is not None and p.grad.abs().max() > 1e-12:
            torch.testing.assert_close(beside.module.get_parameter(name), p, rtol=1e-10, atol=1e-10)
    for player, module in alone.state.params.items():
        for name, p in module.named_parameters():
            other = beside.state.params[player].get_parameter(name)
            torch.testing.assert_close(other, p, rtol=1e-10, atol=1e-10)
    assert alone.state.buffers.keys() == beside.state.buffers.keys()
    for name, b in alone.state.buffers.items():
        torch.testing.assert_close(beside.state.buffers[name], b, rtol=1e-10, atol=1e-10)
    assert beside.flush_logs() == pytest.approx(alone.flush_logs(), rel=1e-10, abs=1e-10, nan_ok=True)
    assert (beside.steps, beside.meter.passes) == (alone.steps, alone.meter.passes)
    assert beside.meter.noise_samples == alone.meter.noise_samples
    assert beside.meter.transitions == alone.meter.transitions


@pytest.mark.parametrize(
    ("method", "settings", "network"),
    [*((m, SHORT.get(m, {}), "mlp") for m in ONE_PLAYER), *MORE],
    ids=str,
)
def test_runs_together_are_the_runs_alone(method, settings, network):
    alone, beside, together = both(method, settings, network)
    start = [p.clone() for p in alone[0].module.parameters()]
    for _ in range(STEPS):
        together.step()
        for training in alone:
            training.step()
    together.hand_over()
    assert max((p - q).abs().max() for p, q in zip(alone[0].module.parameters(), start, strict=True)) > 0.01
    for one, other in zip(alone, beside, strict=True):
        assert_same(one, other)


def test_a_setting_that_differs_between_runs_is_a_number_for_each():
    each, x = Each((0.5, 2.0)), Rng.of("each", dtype=torch.float64).normal((2, 3, 4))
    numbers = (0.5, 2.0)
    formulas = (
        lambda s, t: s * t + t / s,
        lambda s, t: (1 - s**0.5) * (t - s) ** 2,
        lambda s, t: 3 / s**2 * t + (s + 1) / 4,
    )
    for formula in formulas:
        together = formula(each, x)
        for i, number in enumerate(numbers):
            torch.testing.assert_close(together[i], formula(number, x[i]), rtol=1e-15, atol=1e-15)


def test_picked_settings_are_those_of_the_run():
    index = torch.tensor([[0, 1, 1], [1, 0, 1]])
    like = torch.empty(0, dtype=torch.float64)
    assert pick((1.0, 2.0), index[0], like).tolist() == [1, 2, 2]
    assert pick((1.0, 2.0), index, like).tolist() == [[1, 2, 2], [2, 1, 2]]
    assert pick((Each((1.0, 3.0)), Each((2.0, 4.0))), index, like).tolist() == [[1, 2, 2], [4, 3, 4]]
