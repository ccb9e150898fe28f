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

from ebmark.api import Constants, Energy, Method, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.ops import fit_gaussian, gaussian_log_prob, gaussian_sample


@method("nce", year=2010)
class NoiseContrastiveEstimation(Method):
    """Noise-contrastive estimation with Gaussian noise that has the data's mean and covariance.

    Attributes:
        nu: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
    """

    nu: int = 1
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.nu < 1:
            raise SpecError(f"nce.nu: {self.nu} given; allowed: at least 1")
        if not self.scale > 0:
            raise SpecError(f"nce.scale: {self.scale} given; allowed: a positive number")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """Fits the noise, and starts c at an importance estimate of log Z."""
        mean, tril = fit_gaussian(data, self.scale)
        y = gaussian_sample(energy, (1024,), mean, tril, rng)
        with torch.no_grad():
            c = (-energy(y) - gaussian_log_prob(y, mean, tril)).logsumexp(0) - math.log(1024)
        return State(params={"energy": Constants(c=c)}, buffers={"mean": mean, "tril": tril})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ, c) ``(...)``; data and noise share one forward."""
        n, q = x.shape[-2], (state.buffers["mean"], state.buffers["tril"])
        c = state.params["energy"].get_parameter("c")
        y = gaussian_sample(energy, (*x.shape[:-2], self.nu * n), *q, rng)
        xy = torch.cat([x, y], -2)
        h = -energy(xy) - c[..., None] - gaussian_log_prob(xy, *q) - math.log(self.nu)
        loss = softplus(-h[..., :n]).mean(-1) + self.nu * softplus(h[..., n:]).mean(-1)
        return Step(losses={"energy": loss}, state=state, logs={"c": c.detach()})

    def passes(self, d: int) -> Passes:
        """3 (1 + ν) F."""
        return Passes(forward=1 + self.nu, backward=2 * (1 + self.nu))

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """C = log Z(k), and noise of ``scale`` times the data's standard deviation."""
        d = len(mu)
        tril = self.scale * math.sqrt(v) * torch.eye(d, dtype=mu.dtype)
        c = 0.5 * d * (2 * math.pi / k).log()
        return State(params={"energy": Constants(c=c)}, buffers={"mean": mu, "tril": tril})

    @classmethod
    def examples(cls, v: float) -> tuple[NoiseContrastiveEstimation, ...]:
        """The default, and a noise that is not the data's law, where a missing log ν shows."""
        return cls(), cls(scale=1.5, nu=5)
