r"""Learning from short-run chains that start in noise (Nijkamp, Hill, Zhu and Wu, 2019).

    ∇J(θ) = E_d ∇E_θ(x) - E ∇E_θ(y_k),    y_{i+1} = y_i - h ∇E_θ(y_i) + √(2h) ξ_i,    y_0 ~ N(m, s₀² Σ)

m and Σ are the data's mean and covariance. Minimised by energies whose k steps from that noise, a generator,
give the data; p_θ itself is not p_d, unless the chain forgets its start and h is small.

Reference: Learning non-convergent non-persistent short-run MCMC toward energy-based model, NeurIPS 2019,
https://arxiv.org/abs/1904.09770
"""

# Over 80 lines because it brings a generator of its own.

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, auto, method
from ebmark.chains import first_root
from ebmark.errors import SpecError
from ebmark.ops import fit_gaussian, gaussian_sample
from ebmark.samplers import Chain, langevin


@method("short_run", year=2019)
class ShortRun(Method):
    """k unadjusted Langevin steps from noise, at every update and to generate.

    Attributes:
        k: steps.
        h: step size, in the data's units squared; by default 0.003 sd² d^(-1/3).
        scale: s₀, the noise's standard deviations in units of the data's.
    """

    k: int = 50
    h: float = auto(0.003, scale=2, dim=-1 / 3)
    scale: float = 1.0

    def __post_init__(self) -> None:
        for key in ("k", "h", "scale"):
            if isinstance(value := getattr(self, key), int | float) and not value > 0:
                raise SpecError(f"short_run.{key}: {value} given; allowed: a positive number")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """Fits the noise."""
        return State(buffers=dict(zip(("mean", "tril"), fit_gaussian(data, self.scale), strict=True)))

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E(x) - E E(y_k) ``(...)``; no gradient flows through y_k."""
        y = self._run(energy, x.shape[:-1], state, rng)
        E_x, E_y = energy(torch.cat([x, y.x], -2)).chunk(2, -1)
        h = self.h * torch.ones_like(y.displacement)
        logs = {"acceptance": y.acceptance, "displacement": y.displacement, "h": h}
        return Step(losses={"energy": E_x.mean(-1) - E_y.mean(-1)}, state=state, logs=logs)

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor:
        """y_k ``(n, d)``: the density that was trained to be the data's."""
        return self._run(energy, (n,), state, rng).x

    def _run(self, energy: Energy, shape: tuple[int, ...], state: State, rng: Rng) -> Chain:
        y = gaussian_sample(energy, shape, state.buffers["mean"], state.buffers["tril"], rng)
        h = self.h * torch.ones_like(y[..., 0, 0])
        return langevin(energy, y, k=self.k, h=h, rng=rng, adjust=False, test=False)

    def passes(self, d: int) -> Passes:
        """2k + 6 F."""
        return Passes(forward=self.k + 2, input_gradient=self.k, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """The root of a^(2k) s₀² v + (1 - a^(2k))/(κ (1 - hκ/2)) = v in the precision κ, with a = 1 - hκ."""

        def excess(κ: float) -> float:
            a = (1 - self.h * κ) ** (2 * self.k)
            return a * self.scale**2 * v + (1 - a) / (κ * (1 - self.h * κ / 2)) - v

        return first_root(excess, 0.01 / v)

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The noise N(mu, s₀² v I)."""
        tril = self.scale * math.sqrt(v) * torch.eye(len(mu), dtype=mu.dtype)
        return State(buffers={"mean": mu, "tril": tril})

    @classmethod
    def examples(cls, v: float) -> tuple[ShortRun, ...]:
        """Chains too short to forget that they start narrow, or wide, and one from the data's own law."""
        return tuple(cls(k=5, h=0.05 * v, scale=scale) for scale in (0.8, 1.3, 1.0))
