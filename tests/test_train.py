"""The training loop: budgets, the cost of a step where players rest, and the players' rates."""

from __future__ import annotations

import math

import pytest
import torch

from ebmark import registry
from ebmark.api import Rng
from ebmark.train import Training, batches
from ebmark.trial import Budget, Optimiser


def training(name: str, budget: Budget, optimiser: Optimiser | None = None, **settings: object) -> Training:
    """A method on N(0, I) at d = 2 with the quadratic network."""
    target = registry.make(registry.ref("dataset", "gaussian"))
    data = target.sample(200, Rng.of("data"))
    network = registry.make(registry.ref("network", "mlp", width=8, depth=1))
    method = registry.make(registry.ref("method", name, **settings))
    module = network.build(data, Rng.of("weights"))
    stream = batches(target, budget.batch, None, data, Rng.of("stream"))
    return Training(method, module, data, stream, Rng.of("method"), budget, optimiser or Optimiser())


def test_a_budget_in_passes_is_used_up_by_what_was_spent():
    """lsd's critic moves alone in four of five steps, at 2 F instead of 6: 2.8 F a step on average."""
    run = training("lsd", Budget(passes=6 * 16 * 70, batch=16))
    while run.progress < 1:
        run.step()
    assert run.meter.passes.total == pytest.approx(6 * 16 * 70, abs=6 * 16)
    assert run.steps == pytest.approx(70 * 6 / 2.8, abs=2)


def test_the_passes_of_a_method_that_never_rests_make_a_whole_number_of_steps():
    run = training("dsm", Budget(passes=6 * 16 * 10 + 5, batch=16), sigma=0.1)
    shares = []
    while run.progress < 1:
        run.step()
        shares.append(run.progress)
    assert shares == [i / 10 for i in range(1, 11)]


def test_each_kind_of_step_counts_with_its_share():
    """Four steps of a critic at 1 s for each of both players at 5 s: 1.8 s a step, not the median's 1."""
    run = training("lsd", Budget(steps=1))
    run.step_times[frozenset({"critic"})] = [9.0, 9.0] + [1.0] * 78
    run.step_times[frozenset({"critic", "energy"})] = [9.0, 9.0] + [5.0] * 18
    assert run.step_seconds() == (pytest.approx(0.8 * 1 + 0.2 * 5), 0.0)
    run.step_times.clear()
    assert all(map(math.isnan, run.step_seconds()))


def test_the_studys_rate_is_the_energys_and_opponents_keep_their_ratio():
    declared = registry.get("method", "adversarial").players
    ratio = declared["flow"]["lr"] / declared["energy"]["lr"]
    run = training("adversarial", Budget(steps=1), Optimiser(lr=3e-3), flow="affine")
    assert run.players["energy"].lr == 3e-3
    assert run.players["flow"].lr == pytest.approx(3e-3 * ratio)


def test_each_player_is_moved_by_its_own_loss_alone():
    """With the other's step size at zero each ends where it does alone: the shared graph leaks nothing."""
    run = training("adversarial", Budget(steps=1), flow="affine")
    before = {name: [p.detach().clone() for p in player.parameters] for name, player in run.players.items()}
    step = run.method.step(run.energy, next(run.stream), run.state, Rng.of("one"))
    own = {
        name: torch.autograd.grad(loss, run.players[name].parameters, retain_graph=True)
        for name, loss in step.losses.items()
    }
    run._descend(step)
    for name, player in run.players.items():
        for p, old, gradient in zip(player.parameters, before[name], own[name], strict=True):
            assert torch.equal(p.grad, gradient)
            assert not torch.equal(p, old) or not gradient.any()
