"""What the targets share whose density comes down to one law on the line, known up to its normaliser.

The law is integrated over 8192 cells by five-point Gauss-Legendre rules, exact to rounding. Samples invert
the cumulative distribution: the cell's mass is exact, and inside a cell the density is taken as linear, an
error below 1e-6 in total variation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ebmark.api import Dataset, Rng

CELLS = 8192
BITS = 52  # of the uniform numbers that pick a place; float32's 24 would cut the tails off
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A density proportional to exp(f) on an interval, in float64.

    Attributes:
        edges: of the cells ``(C + 1,)``.
        cdf: the cumulative distribution at the edges ``(C + 1,)``.
        heights: exp(f) at the edges, up to a factor ``(C + 1,)``.
        nodes: of the quadrature ``(N,)``, with probabilities ``weights (N,)``.
        log_z: log of the integral of exp(f).
    """

    edges: Tensor
    cdf: Tensor
    heights: Tensor
    nodes: Tensor
    weights: Tensor
    log_z: float

    def mean(self, g: Callable[[Tensor], Tensor]) -> float:
        """E[g(t)]."""
        return (self.weights @ g(self.nodes)).item()

    def sample(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """Independent samples ``shape`` in float64 on the stream's device."""
        u = (rng.integers(2**BITS, shape).double() + 0.5) / 2**BITS
        cell = (torch.searchsorted(self.cdf, u, right=True) - 1).clamp(0, CELLS - 1)
        left, right = self.cdf[cell], self.cdf[cell + 1]
        v = (u - left) / (right - left)
        a, b = self.heights[cell], self.heights[cell + 1]
        # The root in [0, 1] of the share of the cell below a place, without cancellation.
        place = v * (a + b) / (a + (a.square() + v * (b.square() - a.square())).sqrt())
        x: Tensor = self.edges[cell] + place * (self.edges[1] - self.edges[0])
        return x


@lru_cache(maxsize=16)
def _law(target: Tabulated, device: torch.device) -> Law:
    low, high = target._interval()
    edges = torch.linspace(low, high, CELLS + 1, dtype=torch.float64)
    half = (high - low) / (2 * CELLS)
    points, shares = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(5))
    nodes = (edges[:-1, None] + half * (1 + points)).flatten()
    f = target._log_weight(nodes)
    masses = (f - f.max()).exp().reshape(CELLS, -1) * (half * shares)
    total = masses.sum()
    cdf = torch.cat([torch.zeros(1, dtype=torch.float64), masses.sum(-1).cumsum(0) / total])
    return Law(
        edges=edges.to(device),
        cdf=(cdf / cdf[-1]).to(device),
        heights=(target._log_weight(edges) - f.max()).exp().to(device),
        nodes=nodes.to(device),
        weights=(masses / total).flatten().to(device),
        log_z=(f.max() + total.log()).item(),
    )


class Tabulated(Dataset):
    """A density that is a function of one law on the line. Subclasses are registered."""

    def _log_weight(self, t: Tensor) -> Tensor:
        """The law's log-density ``(n,)`` at ``t (n,)``, up to a constant."""
        raise NotImplementedError(f"{type(self).__name__} has no law")

    def _interval(self) -> tuple[float, float]:
        """What holds all but 1e-16 of the law."""
        raise NotImplementedError(f"{type(self).__name__} has no interval")

    def _law(self, device: torch.device = CPU) -> Law:
        return _law(self, device)
