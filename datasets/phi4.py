"""The φ⁴ chain: correlated, multimodal and high-dimensional, with exact log Z and exact samples.

The transfer matrix integrates the sites out one by one on a grid of 400 points. The density vanishes at the
ends of the grid, so that the rectangle rule converges geometrically: over the whole range of the settings
log Z agrees with a grid of 1601 points on a wider box to 1e-11.

References: Kramers and Wannier, Statistics of the two-dimensional ferromagnet, Phys. Rev. 60(3), 1941, for
the transfer matrix; Frühwirth-Schnatter, Data augmentation and dynamic linear models, J. Time Series Anal.
15(2), 1994, for forward filtering and backward sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError

POINTS = 400
DEPTH = 32.0  # the grid ends where a site's potential is this far above its minimum: e^-32 is 1e-14
BITS = 52  # of the uniform numbers that pick a cell; float32's 24 would pick the far tail too often


@dataclass(frozen=True, kw_only=True, eq=False)
class _Filter:
    """What integrating the sites out from the left leaves, in float64.

    Attributes:
        grid: the points ``(G,)``, ``step`` apart.
        kernel: the coupling's weight between neighbours ``(G, G)``, times the step.
        messages: f_i(x) ``(d, G)``, proportional to the density of site i in a chain that ends there.
        log_z: the chain's log-normaliser.
    """

    grid: Tensor
    step: float
    kernel: Tensor
    messages: Tensor
    log_z: float


def _potential(x: Tensor, m2: float, lam: float) -> Tensor:
    square = x.square()
    return square * (0.5 * m2 + lam * square)


def _edge(m2: float, lam: float) -> float:
    """Where the potential is DEPTH above its minimum."""
    minimum = -(min(m2, 0.0) ** 2) / (16 * lam)
    return math.sqrt((-0.5 * m2 + math.sqrt(0.25 * m2**2 + 4 * lam * (DEPTH + minimum))) / (2 * lam))


@lru_cache(maxsize=16)
def _filter(dim: int, m2: float, lam: float) -> _Filter:
    edge = _edge(m2, lam)
    grid = torch.linspace(-edge, edge, POINTS, dtype=torch.float64)
    step = 2 * edge / (POINTS - 1)
    kernel = step * torch.exp(-0.5 * (grid[:, None] - grid).square())
    potential = _potential(grid, m2, lam)
    log_z = -dim * potential.min().item()
    site = torch.exp(potential.min() - potential)
    messages, f = [], site
    for i in range(dim):
        f = site * (kernel @ f) if i else site
        scale = f.max()
        log_z += math.log(scale.item())
        f = f / scale
        messages.append(f)
    log_z += math.log(step * f.sum().item())
    return _Filter(grid=grid, step=step, kernel=kernel, messages=torch.stack(messages), log_z=log_z)


@lru_cache(maxsize=16)
def _mean_energy(dim: int, m2: float, lam: float) -> float:
    """E[energy] under the chain, from the exact marginals of its sites and bonds on the grid."""
    chain = _filter(dim, m2, lam)
    # A chain read backwards is the same chain: the message from the right at site i + 1 is f_{d-i}.
    left, right = chain.messages[:-1], chain.messages[:-1].flip(0)
    onward = left @ chain.kernel  # f_i carried across the bond to site i + 1
    bond = 0.5 * (chain.grid[:, None] - chain.grid).square()
    bonds = ((left @ (chain.kernel * bond)) * right).sum(-1) / (onward * right).sum(-1)
    end = chain.messages[-1:]  # the law of the last site, and by symmetry of the first
    sites = torch.cat([end, onward * right])
    potential = _potential(chain.grid, m2, lam)
    return (bonds.sum() + ((sites @ potential) / sites.sum(-1)).sum()).item()


@lru_cache(maxsize=4)
def _tables(dim: int, m2: float, lam: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cumulative tables: of the last site ``(G,)``, and of each site given its right neighbour ``(k, G G)``.

    Row j of a site's table is j + the cumulative distribution given that the neighbour is at grid point j:
    rows laid end to end stay sorted, and one search finds the cell. The messages converge geometrically (k
    is 16 at the default m2 and lam, 20 MB), so that all sites but the first few share the last table.
    """
    chain = _filter(dim, m2, lam)
    last = chain.messages[-1].cumsum(0)
    inner = chain.messages[:-1]
    settled = (inner - inner[-1:]).abs().amax(-1) < 1e-13
    inner = inner[: int((~settled).sum()) + 1]
    rows = (chain.kernel * inner[:, None, :]).cumsum(-1)
    rows = rows / rows[..., -1:] + torch.arange(POINTS, dtype=torch.float64)[:, None]
    return (last / last[-1]).to(device), rows.flatten(1).to(device)


@dataset("phi4")
class Phi4(Dataset):
    """p(x) ∝ exp(-Σ_{i<d} (x_{i+1} - x_i)²/2 - Σ_i (m2/2 x_i² + lam x_i⁴)), an open chain.

    Attributes:
        dim: number of sites d.
        m2: the quadratic coefficient; below 0 every site has two wells.
        lam: the quartic coefficient.
    """

    dim: int = 8
    m2: float = -2.0
    lam: float = 0.5

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"phi4.dim: {self.dim!r} given; allowed: an integer of at least 1")
        # Within these limits the grid resolves the narrowest well: a step is below 0.4 standard deviations.
        for key, low, high in (("m2", -20, 20), ("lam", 0.05, 100)):
            value = getattr(self, key)
            if type(value) not in (int, float) or not low <= value <= high:
                raise SpecError(f"phi4.{key}: {value!r} given; allowed: a number from {low} to {high}")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``: cells by backward sampling, then a uniform place in each.

        The place alone is a diffusion over the time τ = step²/24. With the drift τ ∇log p it is a Langevin
        step, which leaves p invariant to first order: the grid's bias falls from O(step²) to O(step⁴).
        """
        cells = self._cells(n, rng)
        chain = _filter(self.dim, self.m2, self.lam)
        x = chain.grid.to(rng.device, rng.dtype)[cells]
        return x + chain.step * (rng.uniform(x.shape) - 0.5) + chain.step**2 / 24 * self.score(x)

    def _cells(self, n: int, rng: Rng) -> Tensor:
        """The grid cells ``(n, d)`` of independent samples, drawn from the last site to the first."""
        last, rows = _tables(self.dim, self.m2, self.lam, rng.device)
        u = (rng.integers(2**BITS, (self.dim, n)).double() + 0.5) / 2**BITS
        cell = torch.searchsorted(last, u[-1], right=True)
        cells = [cell]
        for i in reversed(range(self.dim - 1)):
            found = torch.searchsorted(rows[min(i, len(rows) - 1)], u[i] + cell, right=True)
            # The sum may round up to the start of the next row.
            cell = (found - POINTS * cell).clamp(max=POINTS - 1)
            cells.append(cell)
        return torch.stack(cells[::-1], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        bonds = 0.5 * x.diff(dim=-1).square().sum(-1)
        return -bonds - _potential(x, self.m2, self.lam).sum(-1) - self.log_z

    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density ``(..., d)``."""
        pull = x.diff(dim=-1)
        return pad(pull, (0, 1)) - pad(pull, (1, 0)) - x * (self.m2 + 4 * self.lam * x.square())

    @property
    def log_z(self) -> float:
        """The log-normaliser of exp(-energy)."""
        return _filter(self.dim, self.m2, self.lam).log_z

    @property
    def entropy(self) -> float:
        """E[energy] + log Z, in nats."""
        return _mean_energy(self.dim, self.m2, self.lam) + self.log_z
