r"""Noise-contrastive estimation with the exponential loss (Liu, Rosenfeld, Ravikumar and Risteski, 2021).

    J(θ, c) = ½ E_d exp(-h(x)/2) + ½ E_q exp(h(y)/2),    h = -E_θ - c - log q

That is ½ E_d √(q/p) + ½ E_q √(p/q) with p = exp(-E_θ - c). Minimised by p_θ = p_d and c = log Z. The paper
descends along normalised gradients, which is the optimiser `normalised_sgd`.

Reference: Analyzing and improving the optimization landscape of noise-contrastive estimation, ICLR 2022,
https://arxiv.org/abs/2110.11271
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Energy, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.noise import NoiseMethod, contrast, log_prob, sample


@method("ence", year=2021)
class ExponentialNoiseContrastiveEstimation(NoiseMethod):
    """Noise-contrastive estimation with the exponential in place of the logistic loss.

    Attributes:
        nu: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
        noise: gaussian; uniform, on a box around the data; or mixture, of up to 8 Gaussians.
    """

    nu: int = 1
    scale: float = 1.0
    noise: str = "gaussian"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu < 1:
            raise SpecError(f"ence.nu: {self.nu} given; allowed: at least 1")

    @property
    def constant(self) -> str:
        """The learned log Z."""
        return "c"

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ, c) ``(...)``; the ratios of densities are formed from their logarithms."""
        n, q = x.shape[-2], state.buffers
        c = state.params["energy"].get_parameter("c")
        y = sample(energy, (*x.shape[:-2], self.nu * n), q, rng)
        xy = torch.cat([x, y], -2)
        h = -energy(xy) - c[..., None] - log_prob(xy, q)
        loss = 0.5 * ((-0.5 * h[..., :n]).exp().mean(-1) + (0.5 * h[..., n:]).exp().mean(-1))
        return Step(losses={"energy": loss}, state=state, logs={"c": c.detach(), **contrast(h.detach(), n)})

    def passes(self, d: int) -> Passes:
        """3 (1 + ν) F."""
        return Passes(forward=1 + self.nu, backward=2 * (1 + self.nu))

    @classmethod
    def examples(cls, v: float) -> tuple[ExponentialNoiseContrastiveEstimation, ...]:
        """Noise that is the data's law, and noise that is not."""
        return cls(), cls(scale=1.5, nu=5)
