r"""Self-normalised likelihood (Senetaire, Jeha, Mattei and Frellsen, 2025).

    J(θ, b) = E_d E_θ(x) + b + exp(-b) Ẑ - 1,    Ẑ = mean of exp(-E_θ(y))/q(y),    y ~ q

An unbiased upper bound of the negative log-likelihood for every b, tight at b = log Z. Minimised by
p_θ = p_d and b = log Z. Without b, J(θ) = E_d E_θ + log Ẑ: maximum likelihood by importance sampling, biased
with few noise points.

Reference: Learning energy-based models by self-normalising the likelihood, 2025,
https://arxiv.org/abs/2503.07021
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Passes, Rng, State, Step, Value, method
from ebmark.errors import SpecError
from ebmark.noise import NoiseMethod, estimate_log_z, log_prob, sample
from ebmark.ops import effective_share


@method("snl", year=2025)
class SelfNormalisedLikelihood(NoiseMethod):
    """Likelihood with a noise estimate of Z; by default from Gaussian noise wider than the data.

    Attributes:
        M: noise points per datum.
        scale: the noise's standard deviations in units of the data's.
        noise: gaussian; independent, without its correlations; uniform, on a box around the data; or mixture,
            of up to 8 Gaussians.
        learn_b: learn log Z as b; otherwise it is estimated anew at every step.
    """

    M: int = 4
    scale: float = 1.5
    noise: str = "gaussian"
    learn_b: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.M < 1:
            raise SpecError(f"snl.M: {self.M} given; allowed: at least 1")

    @property
    def constant(self) -> str:
        """The learned log Z."""
        return "b" if self.learn_b else ""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ, b) ``(...)``; its ess is the effective share of all the noise points of the batch."""
        n, q = x.shape[-2], state.buffers
        y = sample(energy, (*x.shape[:-2], self.M * n), q, rng)
        E = energy(torch.cat([x, y], -2))
        log_w = -E[..., n:] - log_prob(y, q)
        log_Z = log_w.logsumexp(-1) - math.log(self.M * n)
        logs = {"ess": effective_share(log_w.detach())}
        bound = log_Z
        if self.learn_b:
            b = state.params["energy"].get_parameter("b")
            bound = b + (log_Z - b).exp() - 1
        return Step(losses={"energy": E[..., :n].mean(-1) + bound}, state=state, logs=logs)

    def passes(self, d: int) -> Passes:
        """3 (1 + M) F."""
        return Passes(forward=1 + self.M, backward=2 * (1 + self.M))

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value:
        """b, or without it an estimate from fresh noise."""
        learned = super().log_z(energy, state, rng)
        return learned or Value(value=estimate_log_z(energy, state.buffers, rng).item())

    def gaussian_precision(self, v: float) -> float:
        """1/v with b; without it the bias at finite M is not known."""
        return 1 / v if self.learn_b else math.nan

    @classmethod
    def examples(cls, v: float) -> tuple[SelfNormalisedLikelihood, ...]:
        """With b, where the minimiser does not depend on M."""
        return cls(), cls(M=1, noise="uniform")
