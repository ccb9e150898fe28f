"""The work that is counted, for every method at several settings and dimensions: declared and executed."""

from __future__ import annotations

import pytest
import torch

from ebmark import registry
from ebmark.api import Energy, Method, Rng, resolve
from ebmark.meter import Meter
from ebmark.networks.mlp import MLP
from ebmark.rehearsal import run_backward

N = 8
SETTINGS: dict[str, list[dict[str, object]]] = {
    "cd": [
        {"k": k, "sampler": s, "h": h} for k in (1, 3) for s in ("ula", "mala", "hmc") for h in (None, 0.01)
    ],
    "pcd": [{"k": 2, "sampler": s, "capacity": 40} for s in ("ula", "mala", "hmc")],
    "cnce": [{"kappa": 1}, {"kappa": 3}],
    "dsm": [{}, {"levels": 4}],
    "energy_discrepancy": [{"M": 1}, {"M": 5}],
    "mle": [{"points": 3}],
    "mpf": [{"M": 1}, {"M": 5}],
    "nce": [{"nu": nu, "noise": q} for nu in (1, 4) for q in ("gaussian", "uniform", "mixture")],
    "ence": [{"nu": 3}],
    "ranking_nce": [{"K": 1}, {"K": 6}],
    "recovery": [{"K": 2, "levels": 2}, {"K": 5, "levels": 4}],
    "short_run": [{"k": 4}],
    "snl": [{"M": 1}, {"M": 3, "learn_b": False}],
    "ssm": [{"M": 1}, {"M": 4}],
    "ssm_vr": [{"M": 1}, {"M": 4}],
    "tre": [{"m": 2}, {"m": 4}],
    "vera": [{}, {"penalty": 0.1}],
    "lsd": [{"critic_steps": 1}],
}
CASES = [(name, settings) for name in registry.names("method") for settings in SETTINGS.get(name, [{}])]


def counted(method: Method, d: int) -> Meter:
    """The meter after one step in which every player moves."""
    rng = Rng.of("counts", d, dtype=torch.float64)
    data = rng.split("data").normal((200, d))
    method = resolve(method, data)
    heads = {"heads": method.heads(d)} if method.heads(d) > 1 else {}
    module = MLP(width=4, depth=2).build(data, rng.split("network"), **heads)
    state = method.init(Energy(module), data, rng.split("init"))
    energy = Energy(module, Meter())
    step = method.step(energy, data[:N], state, rng.split("loss"))
    assert set(step.losses) == {"energy", *state.params}
    run_backward(module, step)
    energy.meter.commit(*step.losses)
    return energy.meter


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_work_is_counted_as_declared_and_as_executed(name, settings):
    """Score matching runs in 3 (d + 2) F and its sliced forms in 3 (M + 2); the rest as autograd would."""
    method = registry.get("method", name)(**settings)
    for d in (1, 2) if name == "mle" else (1, 2, 5):
        meter = counted(method, d)
        assert meter.passes == N * method.passes(d), d
        directions = {"sm": d, "ssm": settings.get("M"), "ssm_vr": settings.get("M")}.get(name)
        executed = method.passes(d).total if directions is None else 3 * (directions + 2)
        assert meter.executed == N * executed, d
