r"""Ranking noise-contrastive estimation (Ma and Collins, 2018), also known as InfoNCE.

    J(θ) = -E log [ r(x) / (r(x) + Σ_j r(y_j)) ],    r = exp(-E_θ)/q,    y_1, ..., y_K ~ q

Which of K + 1 points is the datum? Minimised by p_θ = p_d; Z cancels, so that no constant is learned.

Reference: Noise contrastive estimation and negative sampling for conditional models: consistency and
statistical efficiency, EMNLP 2018, https://arxiv.org/abs/1809.01812
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.noise import NoiseMethod, contrast, log_prob, sample


@method("ranking_nce", year=2018)
class RankingNoiseContrastiveEstimation(NoiseMethod):
    """Each datum is ranked among noise points of its own.

    Attributes:
        K: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
        noise: gaussian; independent, without its correlations; uniform, on a box around the data; or mixture,
            of up to 8 Gaussians.
    """

    K: int = 4
    scale: float = 1.0
    noise: str = "gaussian"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.K < 1:
            raise SpecError(f"ranking_nce.K: {self.K} given; allowed: at least 1")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ) ``(...)``; its accuracy is the share of noise points that rank below their datum.

        The overlap takes log Z from the noise points of the batch.
        """
        n, q = x.shape[-2], state.buffers
        y = sample(energy, (*x.shape[:-2], n * self.K), q, rng)
        xy = torch.cat([x, y], -2)
        log_r = -energy(xy) - log_prob(xy, q)
        r_x, r_y = log_r[..., :n, None], log_r[..., n:].reshape(*x.shape[:-1], self.K)
        loss = (torch.cat([r_x, r_y], -1).logsumexp(-1) - r_x.squeeze(-1)).mean(-1)
        seen = log_r.detach()
        log_Z = seen[..., n:].logsumexp(-1, keepdim=True) - math.log(n * self.K)
        logs = contrast(seen - log_Z, n) | {"accuracy": (r_x > r_y).to(x.dtype).mean((-2, -1))}
        return Step(losses={"energy": loss}, state=state, logs=logs)

    def passes(self, d: int) -> Passes:
        """3 (1 + K) F."""
        return Passes(forward=1 + self.K, backward=2 * (1 + self.K))

    @classmethod
    def examples(cls, v: float) -> tuple[RankingNoiseContrastiveEstimation, ...]:
        """Noise that is the data's law, and noise that is not."""
        return cls(), cls(K=1, scale=1.5)
