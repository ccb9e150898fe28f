r"""Adversarial maximum likelihood (Kim and Bengio, 2016; Dai et al., 2019) with a flow of exact entropy.

    min over θ, max over φ of    E_d E_θ(x) - E_q E_θ(y) + H(q_φ)

Since log Z = max over q of E_q[-E] + H(q), this is a lower bound of the negative log-likelihood, short of it
by KL(q_φ | p_θ): never a likelihood. Minimised by the density of the data where q_φ = p_θ.

Reference: Deep directed generative models with energy-based probability estimation, ICLR workshop 2016,
https://arxiv.org/abs/1606.03439
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, Value, mean_value, method
from ebmark.errors import SpecError
from ebmark.flows import Density, GaussianDensity, check_flow, coupling_flow, flow_sample, generate

BOUND_POINTS = 10_000  # samples behind the bound of log Z

# Longer than most methods: a second player with its generator and its closed forms.


@method("adversarial", year=2016)
class AdversarialLikelihood(Method):
    """Adversarial maximum likelihood; a flow draws the negative samples.

    Attributes:
        flow: couplings of the flow: spline or affine.
        transforms: number of couplings.
        flow_steps: steps of the flow for each step of the energy.
    """

    # The flow must follow: an energy that moves faster than this runs away from it.
    players: ClassVar = {"energy": {"lr": 1e-4, "beta1": 0.5}, "flow": {"lr": 2e-3, "beta1": 0.5}}
    flow: str = "spline"
    transforms: int = 3
    flow_steps: int = 1

    def __post_init__(self) -> None:
        check_flow(self.name, self.flow, self.transforms)
        if self.flow_steps < 1:
            raise SpecError(f"adversarial.flow_steps: {self.flow_steps} given; allowed: at least 1")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The flow at the data's moments."""
        return self._state(coupling_flow(data, rng, kind=self.flow, transforms=self.transforms))

    def _state(self, flow: Density) -> State:
        return State(params={"flow": flow}, buffers={"count": torch.zeros((), dtype=torch.long)})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E - E_q E for the energy, E_q[E + log q] for the flow ``(...)``."""
        count = state.buffers["count"]
        y, log_q = flow_sample(energy, cast(Density, state.params["flow"]), x.shape, rng)
        E_y = energy(y)
        losses = {"flow": (E_y + log_q).mean(-1)}
        if count % self.flow_steps == 0:
            losses = {"energy": energy(x).mean(-1) - E_y.mean(-1), **losses}
        return Step(losses=losses, state=state.update(count=count + 1))

    def passes(self, d: int) -> Passes:
        """7 F + flow (a sample): data, samples, and the gradient at the samples that the flow needs."""
        return Passes(forward=2, input_gradient=1, backward=4)

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value:
        """The lower bound E_q[-E] + H(q) of log Z."""
        with torch.no_grad():
            flow = cast(Density, state.params["flow"])
            y, log_q = flow.draw(rng.normal((BOUND_POINTS, flow.dim)))
            return mean_value(-energy(y) - log_q)

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor:
        """Samples of the flow ``(n, d)``."""
        return generate(cast(Density, state.params["flow"]), n, rng)

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The flow at N(mu, I/k)."""
        return self._state(GaussianDensity(mu, k))

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """D(v - 1/k0)/2 in k, d(k0 - k)/(2 k0²) in k0."""
        return {"energy": 0.5 * d * (v - 1 / k0), "flow": 0.5 * d * (k0 - k) / k0**2}
