"""The least that a step can cost: its bare passes through the same network, in plain torch.

No meter, no wrapper, no method: forwards, `autograd.grad`, one backward and fused Adam. What a method draws,
weighs and keeps beside its passes is not in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ebmark.api import Method
from ebmark.opponents import critic_value_and_trace
from ebmark.train import Training

Run = Callable[[], None]


def adam(module: nn.Module) -> torch.optim.Adam:
    """The optimiser that a study takes by default; the rate leaves the network as it is."""
    return torch.optim.Adam(module.parameters(), lr=1e-9, fused=True)


def frozen(module: nn.Module) -> nn.Module:
    """The same numbers in a module whose parameters need no gradient."""
    twin = copy.deepcopy(module)
    for ours, theirs in zip(twin.parameters(), module.parameters(), strict=True):
        ours.data = theirs.data
    return twin.requires_grad_(False)


def input_gradient(module: nn.Module, x: Tensor) -> Tensor:
    """∇E ``(n, d)``, kept for nothing."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(module(x).sum(), x)[0]


def energies(module: nn.Module, x: Tensor, *, points: int, gradients: int = 0, track: bool = False) -> Run:
    """``gradients`` serial ∇E on the batch, then one forward on ``points`` points and its backward.

    ``track``: the chain's gradients record the parameters, as an unprepared module does.
    """
    chain, optimiser = module if track else frozen(module), adam(module)
    many = x.repeat(-(-points // len(x)), 1)[:points]

    def run() -> None:
        for _ in range(gradients):
            input_gradient(chain, x)
        optimiser.zero_grad()
        module(many).sum().backward()
        optimiser.step()

    return run


def scores(module: nn.Module, x: Tensor, *, directions: int = 0) -> Run:
    """The score by double backward, with a Hessian-vector product along each of ``directions``."""
    optimiser, v, parameters = adam(module), torch.ones_like(x), [*module.parameters()]

    def run() -> None:
        y = x.detach().requires_grad_()
        (s,) = torch.autograd.grad(module(y).sum(), y, create_graph=True)
        loss = s.square().sum()
        for _ in range(directions):
            loss = loss + torch.autograd.grad((s * v).sum(), y, create_graph=True)[0].sum()
        optimiser.zero_grad()
        loss.backward(inputs=parameters)
        optimiser.step()

    return run


def floor(training: Training, x: Tensor, executed: float) -> Run:
    """The bare step of a method; ``executed``: F per point that the method's own operators run."""
    method, module, n = training.method, training.module, len(x)
    passes = method.passes(x.shape[-1])
    if len(training.players) > 1:
        return TWO_PLAYERS[method.name](training, x)
    if passes.second_order:  # as many F in one forward and its backward
        return energies(module, x, points=round(executed / 3 * n))
    if passes.forward == passes.input_gradient:
        return scores(module, x)
    return energies(module, x, points=round(passes.backward / 2 * n), gradients=round(passes.input_gradient))


def slow_floor(method: Method, module: nn.Module, x: Tensor) -> Run | None:
    """The bare step as plain autograd does it, where a faster form of the same passes is known."""
    passes = method.passes(x.shape[-1])
    if passes.second_order:
        return scores(module, x, directions=round(passes.second_order / 2))
    if passes.input_gradient > 1:
        points = round(passes.backward / 2 * len(x))
        return energies(module, x, points=points, gradients=round(passes.input_gradient), track=True)
    return None


def against_flow(training: Training, x: Tensor) -> Run:
    """Data and a flow's samples through the energy, and the flow both ways where both are wanted."""
    flow: Any = training.state.params["flow"]
    players, both = [adam(training.module), adam(flow)], training.method.name == "fce"
    z = torch.randn_like(x)

    def run() -> None:
        y, log_q = flow.draw(z)
        loss = log_q.sum() + training.module(torch.cat([x, y])).sum()
        if both:
            loss = loss + flow.log_prob(x).sum()
        step(players, loss)

    return run


def against_generator(training: Training, x: Tensor) -> Run:
    """Data and samples through the energy, and the importance samples through the generator."""
    g: Any = training.state.params["generator"]
    players = [adam(training.module), adam(g)]
    z, near = torch.randn_like(x), torch.randn(len(x), training.method.samples, x.shape[-1])  # type: ignore[attr-defined]

    def run() -> None:
        y = g(z) + g.sigma
        with torch.no_grad():
            g(near)
        step(players, training.module(torch.cat([x, y])).sum())

    return run


def against_critic(training: Training, x: Tensor) -> Run:
    """The critic and its trace at every step, the energy's backward at one in ``critic_steps``."""
    critic, every = training.state.params["critic"], training.method.critic_steps  # type: ignore[attr-defined]
    twin, v, count = frozen(training.module), torch.ones_like(x), 0
    energy, own = adam(training.module), adam(critic)

    def run() -> None:
        nonlocal count
        both, count = count % every == 0, count + 1
        y = x.detach().requires_grad_()
        if both:
            (s,) = torch.autograd.grad(training.module(y).sum(), y, create_graph=True)
        else:
            s = input_gradient(twin, x)
        f, trace = critic_value_and_trace(training.energy, critic, x, v)
        step([energy, own] if both else [own], (s * f).sum() + trace.sum())

    return run


def step(players: list[torch.optim.Adam], loss: Tensor) -> None:
    """One backward to every player's parameters, and their steps."""
    for player in players:
        player.zero_grad()
    loss.backward()
    for player in players:
        player.step()


TWO_PLAYERS: dict[str, Callable[[Training, Tensor], Run]] = {
    "fce": against_flow,
    "adversarial": against_flow,
    "vera": against_generator,
    "lsd": against_critic,
}
