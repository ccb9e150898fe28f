r"""VERA (Grathwohl et al., 2021): adversarial maximum likelihood with a latent generator.

    min over θ, max over φ of    E_d E_θ(x) - E_q E_θ(y) + H(q_φ),    y = g_φ(z₀) + σε

The entropy's gradient is -E ∇_y log q(y) ∂y/∂φ with ∇_y log q(y) = E[(g(z) - y)/σ² | y], estimated by M
self-normalised importance samples z ~ N(z₀, η²I). η follows the second moment of z - z₀ under these weights.
Minimised by the density of the data where q_φ = p_θ; a penalty λ E_d |∇E|² moves that.

Reference: No MCMC for me: amortized sampling for fast and stable training of energy-based models, ICLR 2021,
https://arxiv.org/abs/2010.04230
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, Value, mean_value, method, points
from ebmark.errors import SpecError
from ebmark.opponents import GaussianGenerator, Generator, ResidualGenerator
from ebmark.ops import score

BOUNDS = (0.01, 0.3)  # of η, as in the paper
BOUND_POINTS = 300  # samples, and draws of z for each, behind the bound of log Z

# Longer than most methods: a second player, its entropy's gradient and its closed forms.


@method("vera", year=2021)
class VERA(Method):
    """Variational entropy-regularised approximate maximum likelihood.

    Attributes:
        samples: importance samples M of the entropy's gradient. It is too small, on a Gaussian with σ a
            fifth of the standard deviation by 8 % at M = 20 and by 1 % at 200: with few samples a sharp
            generator narrows, and the energy cannot settle.
        penalty: λ of the gradient penalty; the paper's 0.1 moves the minimiser.
    """

    players: ClassVar = {
        "energy": {"lr": 5e-5, "beta1": 0.0, "beta2": 0.9},
        "generator": {"lr": 1e-3, "beta1": 0.0, "beta2": 0.9},
    }
    check_batch: ClassVar[int] = 16
    samples: int = 20
    penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise SpecError(f"vera.samples: {self.samples} given; allowed: at least 2")
        if not self.penalty >= 0:
            raise SpecError(f"vera.penalty: {self.penalty} given; allowed: 0 or more")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The generator at the data's moments, η at 0.1."""
        η = torch.full_like(data[0, 0], 0.1)
        return State(params={"generator": ResidualGenerator(data, rng)}, buffers={"eta": η})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E - E_q E for the energy; for the generator a number whose gradient is that of E_q E - H(q)."""
        g, η = cast(Generator, state.params["generator"]), state.buffers["eta"]
        z = rng.normal(x.shape)
        y = g(z) + g.sigma[..., None, None] * rng.normal(x.shape)
        energy.meter.count(points(y), player="generator", forward=1, graph=2)
        energy.meter.noise_samples += points(y)
        s_q, spread, ess = self._score(energy, g, y, z, η, rng)
        E_y = energy(y)
        J = energy(x).mean(-1) - E_y.mean(-1)
        if self.penalty:
            J = J + self.penalty * score(energy, x).square().sum(-1).mean(-1)
        losses = {"energy": J, "generator": (E_y + (s_q * y).sum(-1)).mean(-1)}
        η = (0.95 * η.square() + 0.05 * spread).sqrt().clamp(*BOUNDS)
        return Step(losses=losses, state=state.update(eta=η), logs={"ess": ess})

    @torch.no_grad()
    def _score(
        self, energy: Energy, g: Generator, y: Tensor, z: Tensor, η: Tensor, rng: Rng
    ) -> tuple[Tensor, Tensor, Tensor]:
        """∇ log q(y) ``(..., n, d)``, the mean of (z - z₀)² and the effective share of samples ``(...)``."""
        ξ = rng.normal((*y.shape[:-1], self.samples, y.shape[-1]))
        near = z[..., None, :] + η[..., None, None, None] * ξ
        energy.meter.count(points(near), player="generator", forward=1)
        σ2 = g.sigma.square()[..., None, None, None]
        error = g(near) - y[..., None, :]
        log_w = -0.5 * (near.square() + error.square() / σ2 - ξ.square()).sum(-1)
        w = log_w.softmax(-1)[..., None]
        spread = η.square() * (w * ξ.square()).sum(-2).mean((-2, -1))
        ess = 1 / (self.samples * w.square().sum((-2, -1)).mean(-1))
        return (w * error / σ2).sum(-2), spread, ess

    def passes(self, d: int) -> Passes:
        """7 F + generator, 6 F more with the penalty."""
        more = 1 if self.penalty else 0
        return Passes(forward=2 + more, input_gradient=1 + more, backward=4 + 4 * more)

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor:
        """Samples of the generator ``(n, d)``."""
        g = cast(Generator, state.params["generator"])
        with torch.no_grad():
            y: Tensor = g(rng.normal((n, g.dim))) + g.sigma * rng.normal((n, g.dim))
        return y

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value:
        """A lower bound of log Z: E_q[-E - log q̂(y)], q̂(y) the mean of N(y; g(z), σ²I) over z₀ and others.

        With y's own z₀ among draws of the prior E log q̂(y) is not below E log q(y) (Sohl-Dickstein and
        Culpepper, 2012).
        """
        g = cast(Generator, state.params["generator"])
        with torch.no_grad():
            z0, z = rng.normal((BOUND_POINTS, 1, g.dim)), rng.normal((BOUND_POINTS, BOUND_POINTS, g.dim))
            x = g(torch.cat([z0, z], 1))
            y = x[:, 0] + g.sigma * rng.normal((BOUND_POINTS, g.dim))
            log_N = -0.5 * ((y[:, None] - x) / g.sigma).square().sum(-1)
            log_q = log_N.logsumexp(1) - math.log(x.shape[1])
            return mean_value(-energy(y) - log_q + g.dim * (g.sigma.log() + 0.5 * math.log(2 * math.pi)))

    def gaussian_precision(self, v: float) -> float:
        """1/v, with a penalty λ (-v + √(v² + 16λv))/(8λv)."""
        λ = self.penalty
        return (-v + math.sqrt(v * v + 16 * λ * v)) / (8 * λ * v) if λ else 1 / v

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """A linear generator of N(mu, I/k) with σ a fifth of its standard deviation."""
        g = GaussianGenerator(mu, k, 0.2 * k.rsqrt())
        return State(params={"generator": g}, buffers={"eta": torch.full_like(k, BOUNDS[1])})

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """d(v - 1/k0)/2 + 2λkdv in k, d(k0 - k)/(2 k0²) in k0 (where M is large)."""
        energy = 0.5 * d * (v - 1 / k0) + 2 * self.penalty * k * d * v
        return {"energy": energy, "generator": 0.5 * d * (k0 - k) / k0**2}

    @classmethod
    def examples(cls, v: float) -> tuple[VERA, ...]:
        """So many importance samples that their bias is not seen, without and with the penalty."""
        return cls(samples=400), cls(samples=400, penalty=0.1)
