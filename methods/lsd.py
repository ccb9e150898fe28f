r"""Learned Stein discrepancy (Grathwohl, Wang, Jacobsen, Duvenaud and Zemel, 2020).

    min over θ, max over f of    J = E_d [ s_θ(x)'f(x) + tr ∇f(x) - λ |f(x)|² ],    s_θ = -∇E_θ

Its best critic is f = (s_θ - s_d)/(2λ), where J = E_d |s_θ - s_d|²/(4λ): minimised by the density of the
data, without Z. The trace is Hutchinson's estimate v'∇f v with Rademacher v.

Reference: Learning the Stein discrepancy for training and evaluating energy-based models without sampling,
ICML 2020, https://arxiv.org/abs/2002.05616
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.opponents import Critic, GaussianCritic, critic_value_and_trace
from ebmark.ops import score


@method("lsd", year=2020)
class LearnedSteinDiscrepancy(Method):
    """Learned Stein discrepancy; the critic moves at every step.

    Attributes:
        lam: the penalty λ on |f|²; at 0.5 the best critic is the difference of the scores.
        critic_steps: steps of the critic for each step of the energy.
    """

    players: ClassVar = {
        "energy": {"lr": 5e-4, "beta1": 0.5, "beta2": 0.9},
        "critic": {"lr": 2e-3, "beta1": 0.5, "beta2": 0.9},
    }
    lam: float = 0.5
    critic_steps: int = 5

    def __post_init__(self) -> None:
        if not self.lam > 0:
            raise SpecError(f"lsd.lam: {self.lam} given; allowed: a positive number")
        if self.critic_steps < 1:
            raise SpecError(f"lsd.critic_steps: {self.critic_steps} given; allowed: at least 1")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """A fresh critic."""
        return self._state(Critic(data, rng))

    def _state(self, critic: nn.Module) -> State:
        return State(params={"critic": critic}, buffers={"count": torch.zeros((), dtype=torch.long)})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J for the energy and -J for the critic ``(...)``; both see the same score."""
        count = state.buffers["count"]
        both = bool(count % self.critic_steps == 0)
        with torch.set_grad_enabled(both):
            s = score(energy, x)
        f, trace = critic_value_and_trace(energy, state.params["critic"], x, rng.sign(x.shape))
        J = ((s * f).sum(-1) + trace - self.lam * f.square().sum(-1)).mean(-1)
        losses = {"energy": J, "critic": -J} if both else {"critic": -J}
        return Step(losses=losses, state=state.update(count=count + 1))

    def passes(self, d: int) -> Passes:
        """6 F + critic where both move, 2 F + critic where the critic moves alone."""
        return Passes(forward=1, input_gradient=1, backward=4)

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The exact critic of N(mu, I/k)."""
        return self._state(GaussianCritic(mu, v, k, self.lam))

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """d(k0 v - 1)/(2λ) in k, d v (k0 - k)/(2λ) in k0."""
        return {"energy": d * (k0 * v - 1) / (2 * self.lam), "critic": d * v * (k0 - k) / (2 * self.lam)}

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """The density must have a score."""
        return None if dataset.smooth else f"the density of {dataset.name} has no score"
