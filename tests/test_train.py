"""The training loop: budgets, the cost of a step where players rest, and the players' rates."""

from __future__ import annotations

import math

import pytest
import torch

from ebmark import registry
from ebmark.api import Rng, resolve
from ebmark.recent import Recent
from ebmark.stream import Batches
from ebmark.train import DivergedError, Training
from ebmark.trial import Budget, Optimiser


def training(name: str, budget: Budget, optimiser: Optimiser | None = None, **settings: object) -> Training:
    """A method on N(0, I) at d = 2 with the quadratic network."""
    target = registry.make(registry.ref("dataset", "gaussian"))
    data = target.sample(200, Rng.of("data"))
    network = registry.make(registry.ref("network", "mlp", width=8, depth=1))
    method = registry.make(registry.ref("method", name, **settings))
    module = network.build(data, Rng.of("weights"))
    stream = Batches(target, budget.batch, None, data, Rng.of("stream"))
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
    run.step_times[frozenset({"critic"}), True] = [9.0, 9.0] + [1.0] * 78
    run.step_times[frozenset({"critic", "energy"}), True] = [9.0, 9.0] + [5.0] * 18
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


def test_dividing_a_step_is_charged_against_steps_that_were_not_divided():
    """Steps of one player 5 % slower when divided, of both 1 % slower, in the proportion 3 to 1."""
    run = training("lsd", Budget(steps=1))
    for players, cost, n in (({"critic"}, 1.05, 32), ({"critic", "energy"}, 1.01, 12)):
        run.step_times[frozenset(players), True] = [9.0, 9.0] + [cost] * (n - 2)
        run.step_times[frozenset(players), False] = [9.0, 9.0] + [1.0] * (n // 2 - 2)
    expected = (0.05 * 48 + 0.01 * 18) / 66
    assert run.meter_share() == pytest.approx(expected)
    run.step_times.clear()
    assert math.isnan(run.meter_share())


def test_slices_change_nothing_but_the_clock():
    plain, sliced = (training("lsd", Budget(steps=12)) for _ in range(2))
    sliced.sliced = True
    for run in (plain, sliced):
        while run.progress < 1:
            run.step()
    assert {divided for _, divided in sliced.step_times} == {True, False}
    assert sum(map(len, sliced.step_times.values())) == 11, "the first call is apart"
    for p, q in zip(plain.module.parameters(), sliced.module.parameters(), strict=True):
        assert torch.equal(p, q)
    assert sliced.meter.seconds.keys() == plain.meter.seconds.keys()
    assert sum(sliced.meter.seconds.values()) == pytest.approx(sliced.meter.training_seconds)


def test_a_loss_that_is_read_later_is_blamed_on_its_own_step():
    run = training("dsm", Budget(steps=100), sigma=0.1)
    run._look = 8
    for _ in range(3):
        run.step()
    with torch.no_grad():
        next(run.module.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match="the loss of energy is nan at step 4"):
        while run.progress < 1:
            run.step()
    assert run.steps == 8


def test_a_loss_that_is_not_finite_moves_nothing():
    run = training("dsm", Budget(steps=100), sigma=0.1)
    parameters = [*run.module.parameters()]
    with torch.no_grad():
        parameters[0].fill_(math.inf)
    before = [p.detach().clone() for p in parameters]
    with pytest.raises(DivergedError, match="the loss of energy is nan at step 1"):
        run.step()
    assert all(map(torch.equal, parameters, before))


@pytest.mark.parametrize(("name", "look"), [("dsm", 1), ("dsm", 8), ("adversarial", 8)])
def test_a_divergence_tells_the_twenty_steps_before_it(name, look):
    """Step 26 is refused, up to 7 steps late: losses and norms of each player from step 7 on."""
    run = training(name, Budget(steps=100))
    run.method = resolve(run.method, run.data)
    run._look, run.recent = look, Recent(late=look)
    norms = []
    for _ in range(25):
        run.step()
        grads = {
            who: [p.grad for p in one.parameters if p.grad is not None] for who, one in run.players.items()
        }
        norms.append({who: torch.cat([g.flatten() for g in own]).norm().item() for who, own in grads.items()})
    with torch.no_grad():
        next(run.module.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match="at step 26") as told:
        while run.progress < 1:
            run.step()
    rows = told.value.last
    assert [row.step for row in rows if row.player == "energy"] == list(range(7, 27))
    assert math.isnan(next(row.loss for row in rows if row.step == 26 and row.player == "energy"))
    for row in rows:
        if row.step < 26:
            assert math.isfinite(row.loss)
            assert row.gradient == pytest.approx(norms[row.step - 1][row.player], rel=1e-5)
    assert (rows[-1].gradient is None) == (look == 1)


def test_a_parameter_that_is_not_finite_at_the_end_tells_them_too():
    run = training("dsm", Budget(steps=3), sigma=0.1)
    while run.progress < 1:
        run.step()
    with torch.no_grad():
        next(run.module.parameters()).fill_(math.inf)
    with pytest.raises(DivergedError, match="a parameter is not finite after step 3") as told:
        run.check_parameters()
    assert [row.step for row in told.value.last] == [1, 2, 3]
