"""Double wells of unequal depth beside Gaussian coordinates: 2^(d/2) modes normalised by quadrature.

Reference: Noé, Olsson, Köhler and Wu, Boltzmann generators, Science 365, 2019, for the double well; Midgley,
Stimper, Simm, Schölkopf and Hernández-Lobato, Flow annealed importance sampling bootstrap, ICLR 2023,
https://arxiv.org/abs/2208.01893, for the product of many.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Rng, dataset
from ebmark.datasets.tabulated import Tabulated
from ebmark.errors import SpecError


@dataset("many_well")
class ManyWell(Tabulated):
    """p(x) ∝ exp(-Σ over odd i of (x_i⁴ - 6x_i² - x_i/2) - Σ over even i of x_i²/2), i from 1 to d.

    In each well the mode on the right has 84 % of the mass.

    Attributes:
        dim: dimension d.
    """

    dim: int = 2

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"many_well.dim: {self.dim!r} given; allowed: an integer of at least 1")

    def _log_weight(self, t: Tensor) -> Tensor:
        square = t.square()
        return 0.5 * t + square * (6 - square)

    def _interval(self) -> tuple[float, float]:
        return -3.2, 3.2  # more than 40 below the maximum

    @property
    def _counts(self) -> tuple[int, int]:
        """How many coordinates are wells, and how many are Gaussian."""
        return (self.dim + 1) // 2, self.dim // 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        wells, gaussians = self._counts
        x = torch.empty(n, self.dim, dtype=rng.dtype, device=rng.device)
        x[:, 0::2] = self._law(rng.device).sample((n, wells), rng).to(rng.dtype)
        x[:, 1::2] = rng.normal((n, gaussians))
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        wells = self._log_weight(x[..., 0::2]).sum(-1)
        return wells - 0.5 * x[..., 1::2].square().sum(-1) - self.log_z

    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density ``(..., d)``."""
        s = -x
        well = x[..., 0::2]
        s[..., 0::2] = 0.5 + well * (12 - 4 * well.square())
        return s

    @property
    def log_z(self) -> float:
        """The log-normaliser of exp(-energy)."""
        wells, gaussians = self._counts
        return wells * self._law().log_z + 0.5 * gaussians * math.log(2 * math.pi)

    @property
    def entropy(self) -> float:
        """In nats: of a well by quadrature, of the rest in closed form."""
        wells, gaussians = self._counts
        law = self._law()
        well = law.log_z - law.mean(self._log_weight)
        return wells * well + 0.5 * gaussians * math.log(2 * math.pi * math.e)
