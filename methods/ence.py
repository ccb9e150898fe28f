r"""Noise-contrastive estimation with the exponential loss (Liu, Rosenfeld, Ravikumar and Risteski, 2021).

    J(θ, c) = ½ E_d exp(-h(x)/2) + ½ E_q exp(h(y)/2),    h = -E_θ - c - log q

That is ½ E_d √(q/p) + ½ E_q √(p/q) with p = exp(-E_θ - c). Minimised by p_θ = p_d and c = log Z. The paper
descends along normalised gradients, which is the optimiser `normalised_sgd`.

Reference: Analyzing and improving the optimization landscape of noise-contrastive estimation, ICLR 2022,
https://arxiv.org/abs/2110.11271
"""

from __future__ import annotations

from torch import Tensor

from ebmark.api import method
from ebmark.methods.nce import NoiseContrastiveEstimation


@method("ence", year=2021)
class ExponentialNoiseContrastiveEstimation(NoiseContrastiveEstimation):
    """Noise-contrastive estimation with the exponential in place of the logistic loss.

    Attributes:
        nu: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
        noise: gaussian; independent, without its correlations; uniform, on a box around the data; or mixture,
            of up to 8 Gaussians.
    """

    noise: str = "gaussian"

    def criterion(self, data: Tensor, noise: Tensor) -> Tensor:
        """J ``(...)``; the ratios of densities are formed from their logarithms."""
        return 0.5 * ((-0.5 * data).exp().mean(-1) + (0.5 * noise).exp().mean(-1))

    @classmethod
    def examples(cls, v: float) -> tuple[ExponentialNoiseContrastiveEstimation, ...]:
        """Noise that is the data's law, and noise that is not."""
        return cls(), cls(scale=1.5, nu=5)
