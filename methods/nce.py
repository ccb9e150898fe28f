r"""Noise-contrastive estimation (Gutmann and Hyvärinen, 2010) with a learned log-normaliser c.

    J(θ, c) = E_d softplus(-h(x)) + ν E_q softplus(h(y)),    h = -E_θ - c - log q - log ν

Logistic regression of data against ν noise points per datum. Minimised by p_θ = p_d and c = log Z.

Reference: Noise-contrastive estimation: a new estimation principle for unnormalized statistical models,
AISTATS 2010, https://proceedings.mlr.press/v9/gutmann10a.html
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import Energy, Passes, Rng, State, Step, added, method
from ebmark.errors import SpecError
from ebmark.noise import NoiseMethod, contrast, log_prob, sample


@method("nce", year=2010)
class NoiseContrastiveEstimation(NoiseMethod):
    """Noise-contrastive estimation; by default with Gaussian noise of the data's mean and covariance.

    Attributes:
        nu: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
        noise: gaussian; independent, without its correlations; uniform, on a box around the data; or mixture,
            of up to 8 Gaussians.
    """

    nu: int = 1
    scale: float = 1.0
    noise: str = added("gaussian")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu < 1:
            raise SpecError(f"{self.name}.nu: {self.nu} given; allowed: at least 1")

    @property
    def constant(self) -> str:
        """The learned log Z."""
        return "c"

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ, c) ``(...)``; data and noise share one forward."""
        n, q = x.shape[-2], state.buffers
        c = state.params["energy"].get_parameter("c")
        y = sample(energy, (*x.shape[:-2], self.nu * n), q, rng)
        xy = torch.cat([x, y], -2)
        log_ratio = -energy(xy) - c[..., None] - log_prob(xy, q)
        loss = self.criterion(log_ratio[..., :n], log_ratio[..., n:])
        logs = {"c": c.detach(), **contrast(log_ratio.detach(), n)}
        return Step(losses={"energy": loss}, state=state, logs=logs)

    def criterion(self, data: Tensor, noise: Tensor) -> Tensor:
        """J ``(...)`` from log p - log q at data ``(..., n)`` and at noise points ``(..., ν n)``."""
        log_ν = math.log(self.nu)
        return softplus(log_ν - data).mean(-1) + self.nu * softplus(noise - log_ν).mean(-1)

    def passes(self, d: int) -> Passes:
        """3 (1 + ν) F."""
        return Passes(forward=1 + self.nu, backward=2 * (1 + self.nu))

    @classmethod
    def examples(cls, v: float) -> tuple[NoiseContrastiveEstimation, ...]:
        """The default, a noise that is not the data's law, where a missing log ν shows, and other kinds."""
        return cls(), cls(scale=1.5, nu=5), cls(noise="uniform"), cls(noise="mixture", scale=1.5)
