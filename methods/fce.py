r"""Flow contrastive estimation (Gao et al., 2020): the noise is a flow that is trained jointly.

    V(θ, c, φ) = E_d log σ(h(x)) + E_q log σ(-h(y)),    h = -E_θ - c - log q_φ

The energy maximises V, the flow q_φ minimises it. At the equilibrium p_θ = q_φ = p_d, c = log Z and
V = -2 log 2.

Reference: Flow contrastive estimation of energy-based models, CVPR 2020,
https://arxiv.org/abs/1912.00589
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ebmark.api import Constants, Energy, Method, Passes, Rng, State, Step, Value, learned, method
from ebmark.errors import SpecError
from ebmark.flows import (
    Density,
    GaussianDensity,
    check_flow,
    coupling_flow,
    flow_log_prob,
    flow_sample,
    generate,
    radial_mean,
)

# Longer than most methods: a second player with its schedule, its generator and its closed forms.


@method("fce", year=2020)
class FlowContrastiveEstimation(Method):
    """Flow contrastive estimation; the running accuracy of the classifier decides who moves.

    Where the flow cannot bring the accuracy below ``high`` the energy rarely moves: ``moved_energy`` is the
    share of steps in which it does. Runs side by side share the accuracy, and with it the schedule.

    Attributes:
        flow: couplings of the flow: spline or affine.
        transforms: number of couplings.
        low: the flow moves while the accuracy is at least this.
        high: the energy moves while the accuracy is at most this.
    """

    players: ClassVar = {"energy": {"lr": 1e-3}, "flow": {"lr": 1e-3}}
    flow: str = "spline"
    transforms: int = 3
    low: float = 0.5
    high: float = 0.6

    def __post_init__(self) -> None:
        check_flow(self.name, self.flow, self.transforms)
        if not 0 <= self.low < self.high <= 1:
            raise SpecError(f"fce.low: {self.low} given; allowed: 0 to below high = {self.high} at most 1")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The flow at the data's moments, c at an importance estimate of log Z."""
        flow = coupling_flow(data, rng, kind=self.flow, transforms=self.transforms)
        with torch.no_grad():
            y, log_q = flow.draw(rng.normal((1024, data.shape[-1])))
            c = (-energy(y) - log_q).logsumexp(0) - math.log(1024)
        return self._state(flow, c)

    def _state(self, flow: Density, c: Tensor) -> State:
        accuracy = torch.full_like(c.mean(), 0.5 * (self.low + self.high))  # both move
        return State(params={"energy": Constants(c=c), "flow": flow}, buffers={"accuracy": accuracy})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """-V for the energy and V for the flow ``(...)``; a player at rest costs no gradient."""
        flow, running = cast(Density, state.params["flow"]), state.buffers["accuracy"]
        c = state.params["energy"].get_parameter("c")[..., None]
        move_energy, move_flow = bool(running <= self.high), bool(running >= self.low)
        with torch.set_grad_enabled(move_flow):
            y, log_q_y = flow_sample(energy, flow, x.shape, rng)
            log_q_x = flow_log_prob(energy, flow, x)
        h_x, h_y = -energy(x) - c - log_q_x, -energy(y) - c - log_q_y
        V = logsigmoid(h_x).mean(-1) + logsigmoid(-h_y).mean(-1)
        accuracy = 0.5 * ((h_x > 0).to(V).mean(-1) + (h_y < 0).to(V).mean(-1))
        losses = {"energy": -V} if move_energy else {}
        if move_flow:
            losses["flow"] = V
        logs = {"accuracy": accuracy, "overlap": (-h_x).sigmoid().mean(-1).detach(), "c": c[..., 0].detach()}
        logs["moved_energy"] = torch.full_like(accuracy, move_energy)
        return Step(
            losses=losses, state=state.update(accuracy=0.9 * running + 0.1 * accuracy.mean()), logs=logs
        )

    def passes(self, d: int) -> Passes:
        """7 F + flow (a sample, a log-density): data, samples, and the gradient at the samples."""
        return Passes(forward=2, input_gradient=1, backward=4)

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value:
        """The learned c."""
        return learned(state, "c")

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor:
        """Samples of the flow ``(n, d)``."""
        return generate(cast(Density, state.params["flow"]), n, rng)

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The flow at N(mu, I/k), c = log Z(k)."""
        return self._state(GaussianDensity(mu, k), 0.5 * len(mu) * (2 * math.pi / k).log())

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """Radial integrals with h = (k0 - k) r²/2, since c = log Z(k0)."""

        def up(t: Tensor) -> Tensor:  # σ(h)
            return (0.5 * (k0 - k) * t).sigmoid()

        data, own = partial(radial_mean, v=v, d=d), partial(radial_mean, v=1 / k0, d=d)
        return {
            "energy": 0.5 * (data(lambda t: (1 - up(t)) * t) - own(lambda t: up(t) * t)),
            "flow": 0.5
            * (data(lambda t: (1 - up(t)) * (t - d / k0)) - own(lambda t: up(t) * (k * t - d) / k0)),
        }
