"""What a method is written against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor

from ebmark.api.datasets import Dataset
from ebmark.api.energy import Energy
from ebmark.api.networks import Network
from ebmark.api.plugin import Plugin
from ebmark.api.state import State, Step
from ebmark.api.value import Value
from ebmark.meter import Passes
from ebmark.rng import Rng


class Method(Plugin):
    """A way to train an energy: settings and a loss.

    Class attributes:
        year: of the publication.
        players: optimiser settings by player that differ from the study's default, e.g.
            ``{"energy": {"lr": 1e-3}}``; keys lr, beta1 and beta2.
        check_batch: points per replicate in the conformance test (fewer where the cost grows with n²).
        leading: the loss keeps leading dimensions. False for one that hands its batch to a library which does
            not: the conformance test then takes its replicates one by one, and seeds never share a program.
    """

    kind = "method"
    year: ClassVar[int]
    players: ClassVar[Mapping[str, Mapping[str, float]]] = {"energy": {}}
    check_batch: ClassVar[int] = 1024
    leading: ClassVar[bool] = True

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The state before the first step; ``data (n, d)``: the training set or a fixed draw of a stream."""
        return State()

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor | Step:
        """The loss ``(...)`` of a batch ``x (..., n, d)``; a bare tensor is that of the player ``energy``."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def step(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """What ``loss`` returns, a bare tensor made the step of the player ``energy``; for the harness."""
        out = self.loss(energy, x, state, rng)
        return out if isinstance(out, Step) else Step(losses={"energy": out}, state=state)

    def passes(self, d: int) -> Passes:
        """Work per data point of one step in which every player moves, in F as plain autograd costs it."""
        raise NotImplementedError(f"{type(self).__name__} declares no passes")

    def heads(self, d: int) -> int:
        """Energies on a shared trunk (levels, bridges); with more than one, E(x) is ``(..., heads)``."""
        return 1

    def graded(self, energy: Energy, state: State) -> Energy:
        """The energy of the density that is evaluated, x ``(..., d)`` -> ``(...)``."""
        return energy

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value | None:
        """The method's own value of log Z, or None: a learned constant, or a bound with its standard error.

        It is compared with log Z and never used.
        """
        return None

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor | None:
        """Samples ``(n, d)`` of the method's own generator, or None where it has none."""
        return None

    def gaussian_precision(self, v: float) -> float | tuple[float, ...]:
        """The precision k of the minimiser among E = k|x - mu|^2/2 on data N(mu, v I); one per head."""
        return 1 / v

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The state at its exact best response to E = k|x - mu|^2/2 on data N(mu, v I).

        k is ``(...)``, with several heads ``(..., heads)``. Every player's loss must be in the step.
        """
        return State()

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """Each player's mean gradient where the energy has precision k and the opponent stands at k0.

        The energy's is the derivative of its loss in k; an opponent's that of its own loss in k0, the only
        parameter of the module that ``at_gaussian(mu, v, k0)`` supplies. Required of an opponent; without one
        it may hold the energy's alone (chains held at k0).
        """
        return {}

    @classmethod
    def examples(cls, v: float) -> tuple[Self, ...]:
        """The settings at which ``ebmark check`` tests the method on data of variance ``v``."""
        return (cls(),)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Why this method cannot be used there, or None."""
        return None

    def declines(self, dataset: Dataset, network: Network) -> str | None:
        """What its ``skip`` or the network's says, or what the network lacks; for the harness."""
        heads = self.heads(dataset.dim)
        if heads > 1 and not network.many_heads:
            return f"{self.name} needs {heads} heads; the network {network.name} has one"
        if network.of_target and not dataset.exact:
            return f"the network {network.name} needs a known density; {dataset.name} has none"
        return network.skip(dataset.dim) or self.skip(dataset, network)
