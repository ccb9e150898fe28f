r"""Persistent contrastive divergence (Tieleman, 2008) with a replay buffer (Du and Mordatch, 2019).

    ∇J(θ) = E_d ∇E_θ(x) - E ∇E_θ(y_k),    y_k after k transitions from chains that the updates share

An update takes n distinct chains from a buffer (arXiv 1903.08689), restarts a share of them from the data's
Gaussian fit and writes each back where it was read. Minimised as cd is, up to the bias of fresh chains.

Reference: Training restricted Boltzmann machines using approximations to the likelihood gradient, ICML 2008,
https://doi.org/10.1145/1390156.1390290
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ebmark.api import Energy, Rng, State, Step, method
from ebmark.chains import Contrastive
from ebmark.errors import SpecError
from ebmark.ops import fit_gaussian, gaussian_sample

# Longer than most methods: it keeps a buffer, whose closed forms a test needs.


@method("pcd", year=2008)
class PersistentContrastiveDivergence(Contrastive):
    """Contrastive divergence with chains that outlive an update.

    Attributes:
        k, sampler, h, leapfrogs: as for cd.
        capacity: chains in the buffer.
        reinit: share of an update's chains that start afresh, rounded up to a whole chain.
    """

    players: ClassVar = {"energy": {"lr": 1e-3}}
    k: int = 10
    capacity: int = 10_000
    reinit: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity < 1:
            raise SpecError(f"pcd.capacity: {self.capacity} given; allowed: at least 1")
        if not 0 <= self.reinit <= 1:
            raise SpecError(f"pcd.reinit: {self.reinit} given; allowed: from 0 to 1")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """A buffer of fresh chains, and the step size."""
        q = fit_gaussian(data)
        chains = gaussian_sample(energy, (self.capacity,), *q, rng)
        return super().init(energy, data, rng).update(mean=q[0], tril=q[1], chains=chains)

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E(x) - E E(y_k) ``(...)``; y_k go back to the rows of the buffer that y came from."""
        n, chains = x.shape[-2], state.buffers["chains"]
        if n > self.capacity:
            raise SpecError(f"pcd.capacity: {self.capacity} given; allowed: at least the batch, {n}")
        rows = rng.subset(self.capacity, n)[..., None].expand(x.shape)
        lead, m = x.shape[:-2], math.ceil(self.reinit * n)
        fresh = gaussian_sample(energy, (*lead, m), state.buffers["mean"], state.buffers["tril"], rng)
        y = torch.cat([fresh, chains.gather(-2, rows[..., m:, :])], -2)
        step, y_k = self.contrast(energy, x, y, state, rng)
        return replace(step, state=step.state.update(chains=chains.scatter(-2, rows, y_k)))

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """Chains from the stationary law: N(mu, I/k), with ULA N(mu, I/(k (1 - hk/2)))."""
        rng = Rng.of("pcd", dtype=mu.dtype)
        ξ = (rng.stack(len(k)) if k.dim() else rng).normal((*k.shape, self.capacity, len(mu)))
        precision = k * (1 - (self.h or 0) * k / 2) if self.sampler == "ula" else k
        chains = mu + ξ * precision.rsqrt()[..., None, None]
        tril = math.sqrt(v) * torch.eye(len(mu), dtype=mu.dtype)
        return super().at_gaussian(mu, v, k).update(mean=mu, tril=tril, chains=chains)

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """ULA: d/2 (v - a²ᴷ w - (1 - a²ᴷ)/(k (1 - hk/2))), a = 1 - hk, from chains of variance w at k0."""
        if self.sampler != "ula" or self.h is None:
            return {}
        fresh = math.ceil(self.reinit * self.check_batch) / self.check_batch
        w = fresh * v + (1 - fresh) / (k0 * (1 - self.h * k0 / 2))
        a = (1 - self.h * k) ** (2 * self.k)
        return {"energy": 0.5 * d * (v - a * w - (1 - a) / (k * (1 - self.h * k / 2)))}

    @classmethod
    def examples(cls, v: float) -> tuple[PersistentContrastiveDivergence, ...]:
        """The three samplers; on Gaussian data fresh chains have no bias. Small buffers save memory."""
        steps = {"mala": 0.1, "ula": 0.05, "hmc": 0.1}
        return tuple(cls(k=2, sampler=name, h=h * v, capacity=2048) for name, h in steps.items())
