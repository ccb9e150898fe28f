"""A method in small: one step on a tiny network, for the structural checks of ``conformance`` and tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Energy, Meter, Method, Network, Rng, State, Step
from ebmark.modules import perceptron

MOST_STEPS = 100  # within which a schedule must move every player in one step


class SmallNetwork(nn.Module):
    """A smooth network without structure: d -> 8 -> heads, with a Gaussian term."""

    def __init__(self, d: int, heads: int, rng: Rng) -> None:
        super().__init__()
        like = torch.empty(0, dtype=torch.float64)
        self.heads = heads
        self.f = perceptron(
            d, width=8, depth=1, activation="silu", gain=1.0, like=like, rng=rng, outputs=heads
        )

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``, with several heads ``(..., heads)``."""
        E: Tensor = self.f(x) + 0.05 * x.square().sum(-1, keepdim=True)
        return E.squeeze(-1) if self.heads == 1 else E


class _Plain(Dataset):
    """Stands for any smooth target."""

    name = "smooth density"

    def __init__(self, dim: int) -> None:
        self.dim = dim


class _PlainNetwork(Network):
    """Stands for any smooth network."""

    name = "network"
    many_heads = True


def declined_dims(method: Method) -> dict[int, str | None]:
    """Dimensions of the structural tests, 2, 3 and 5, and why the method declines each, or None."""
    return {d: method.skip(_Plain(d), _PlainNetwork()) for d in (2, 3, 5)}


def accepted_dims(method: Method) -> list[int]:
    """Dimensions of the structural tests that the method does not decline.

    Raises:
        LookupError: it declines all of them; the reasons.
    """
    reasons = declined_dims(method)
    accepted = [d for d, reason in reasons.items() if reason is None]
    if not accepted:
        declined = "; ".join(f"d = {d}: {reason}" for d, reason in reasons.items())
        raise LookupError(f"nothing to test it on, {declined}")
    return accepted


def small_run(
    method: Method, d: int | None = None, n: int = 16, seed: int = 0
) -> tuple[SmallNetwork, Tensor, State, Rng]:
    """A fresh network, a batch ``(n, d)``, the method's own first state and the stream of its loss."""
    d = d or accepted_dims(method)[:2][-1]
    rng = Rng.of("structure", d, seed, dtype=torch.float64)
    module = SmallNetwork(d, method.heads(d), rng.split("network"))
    data = rng.split("fit").normal((200, d))
    state = method.init(Energy(module), data, rng.split("init"))
    return module, data[:n], state, rng.split("loss")


def whole_step(method: Method, module: nn.Module, x: Tensor, state: State, rng: Rng) -> tuple[Energy, Step]:
    """The first step in which every player moves, without its backward passes; nothing is trained.

    Raises:
        LookupError: there is none among the first.
    """
    players = {"energy", *state.params}
    for _ in range(MOST_STEPS):
        energy = Energy(module, Meter())
        step = method.step(energy, x, state, rng)
        if set(step.losses) == players:
            return energy, step
        state = step.state
    raise LookupError(f"no step among {MOST_STEPS} moves every player: {', '.join(sorted(players))}")


def own_parameters(module: nn.Module, state: State, player: str) -> dict[str, nn.Parameter]:
    """The parameters that a player's loss moves, by name."""
    parts = {player: state.params[player]} if player in state.params else {}
    if player == "energy":
        parts = {"network": module, **parts}
    return {f"{part}.{name}": p for part, owner in parts.items() for name, p in owner.named_parameters()}


def run_backward(module: nn.Module, step: Step) -> None:
    """Each player's gradient of its own loss, as in training; the graphs stay."""
    for player, loss in step.losses.items():
        own = list(own_parameters(module, step.state, player).values())
        torch.autograd.backward([loss.sum()], inputs=own, retain_graph=True)
