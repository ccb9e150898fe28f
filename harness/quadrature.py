"""log Z by quadrature, for d <= 3: the anchor that every sampling estimate is measured against.

The trapezoid rule converges faster than any power of the spacing for a smooth density whose mass lies inside
the box. Two checks come with the value: half the points, and the mass at the edge of the box.

Reference: Trefethen and Weideman, The exponentially convergent trapezoidal rule, SIAM Review 56(3), 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from ebmark.api import Energy

# Points per axis; odd, so that every other point spans the same box. The finer lattice is used only where the
# coarser one and half its points do not agree: the rule converges so fast that this is rare.
POINTS = {1: (501, 2001), 2: (101, 201), 3: (41, 81)}
CHUNK = 1 << 14  # lattice points per call of the energy
HALF_WIDTH = 6.0  # of the first box, in standard deviations of the data
GROWTH, GROWTHS = 1.5, 8  # up to 100 standard deviations
EDGE_GROW, EDGE_FLAG = 1e-12, 1e-8  # share of the mass in the outermost layer of an axis
# Nats between all and half the points at which the lattice is fine enough: its own error is then about the
# square, and single precision alone makes 1e-7.
ENOUGH = 1e-6
TOLERANCE = 0.01  # nats above which the value is not trusted
ROUNDED = "energies so far from 0 are rounded by up to {:.2g} nats; take a constant off, or use float64"


@dataclass(frozen=True, kw_only=True)
class Integral:
    """A quadrature and its own checks.

    Attributes:
        value: log Z in nats; NaN where the energy is not finite.
        error: |value - value from half the points per axis|, an upper limit for a smooth density, and what
            rounding may do to the energy.
        edge: largest share of the mass in the outermost layer of any axis.
        reasons: why not to trust the value; empty if there is none.
    """

    value: float
    error: float
    edge: float
    reasons: tuple[str, ...] = ()


def dtype_of(module: nn.Module, default: torch.dtype) -> torch.dtype:
    """The floating-point type that ``module`` computes in: that of its parameters or buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return next((t.dtype for t in tensors if t.is_floating_point()), default)


def integrate(energy: Energy, data: Tensor) -> Integral:
    """The log of the integral of exp(-E) over a box around ``data (n, d)``, d <= 3.

    The network is evaluated in its own type, everything else in float64. The box grows, axis by axis, until
    its edge holds less than 1e-12 of the mass.

    Raises:
        ValueError: d > 3.
    """
    d = data.shape[-1]
    if d not in POINTS:
        raise ValueError(f"quadrature needs d <= 3, got d = {d}")
    data = data.double()
    mean, sd = data.mean(0), data.std(0)
    half = HALF_WIDTH * sd.clamp(min=1e-3 * sd.max().item())
    coarse, fine = POINTS[d]
    integral, half = _integrate(energy, mean, half, coarse)
    if not integral.error <= ENOUGH:
        integral = _integrate(energy, mean, half, fine)[0]
    # A rounded energy may be off to the same side everywhere, which no number of points shows.
    off = rounding(dtype_of(energy.module, torch.float64), integral.value)
    reasons = (*integral.reasons, ROUNDED.format(off)) if off > TOLERANCE else integral.reasons
    return replace(integral, error=integral.error + off, reasons=reasons)


def rounding(dtype: torch.dtype, value: float) -> float:
    """Nats by which rounding in ``dtype`` may move all energies of a model whose log Z is ``value``."""
    return 4 * torch.finfo(dtype).eps * (1 + abs(value))


def _integrate(energy: Energy, mean: Tensor, half: Tensor, n: int) -> tuple[Integral, Tensor]:
    """The integral over mean ± half, and the box ``(d,)`` that it grew to."""
    d = len(mean)
    for growth in range(GROWTHS + 1):
        log_p = _log_density(energy, mean, half, n)
        if not torch.isfinite(log_p).all():
            bad = int((~torch.isfinite(log_p)).sum())
            reason = f"the energy is not finite at {bad} of {log_p.numel()} points of the quadrature"
            return Integral(value=math.nan, error=math.nan, edge=math.nan, reasons=(reason,)), half
        edges = torch.tensor([_edge(log_p, axis) for axis in range(d)], device=half.device)
        if edges.max() <= EDGE_GROW or growth == GROWTHS:
            break
        half = torch.where(edges > EDGE_GROW, GROWTH * half, half)
    return _integral(log_p, half, edges.max().item()), half


def _integral(log_p: Tensor, half: Tensor, edge: float) -> Integral:
    d, n = log_p.dim(), log_p.shape[0]
    log_cell = (2 * half / (n - 1)).log().sum()
    # Uniform weights: on a box that holds all the mass, the trapezoid rule's halved ends do not matter.
    fine = (log_p.flatten().logsumexp(0) + log_cell).item()
    coarse = log_p[(slice(None, None, 2),) * d].flatten().logsumexp(0) + log_cell + d * math.log(2)
    error = abs(fine - coarse.item())
    reasons = []
    if edge > EDGE_FLAG:
        reasons.append(f"a share {edge:.1e} of the mass lies at the edge of the largest box")
    if error > TOLERANCE:
        reasons.append(f"half the points of the quadrature change log Z by {error:.2g}")
    return Integral(value=fine, error=error, edge=edge, reasons=tuple(reasons))


def _log_density(energy: Energy, mean: Tensor, half: Tensor, n: int) -> Tensor:
    """-E ``(n, ..., n)`` in float64 on a lattice over mean ± half."""
    d = len(mean)
    steps = torch.linspace(-1, 1, n, dtype=torch.float64, device=mean.device)
    axes = [centre + width * steps for centre, width in zip(mean, half, strict=True)]
    lattice = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
    dtype = dtype_of(energy.module, torch.float64)
    with torch.no_grad():
        E = torch.cat([energy(x.to(dtype)).double() for x in torch.split(lattice, CHUNK)])
    return -E.reshape((n,) * d)


def _edge(log_p: Tensor, axis: int) -> float:
    """The share of the mass in the two outermost layers of an axis."""
    layers = torch.stack([log_p.select(axis, 0), log_p.select(axis, -1)])
    return math.exp((layers.flatten().logsumexp(0) - log_p.flatten().logsumexp(0)).item())


@lru_cache(maxsize=16)
def lattice(M: int, d: int) -> Tensor:
    """The M points {j z/M} ``(M, d)`` of a rank-1 lattice in the unit interval or square, d <= 2, in float64.

    z = (1, g): of the g near M divided by the golden ratio, the one that keeps the points furthest apart.

    Reference: Sloan and Joe, Lattice methods for multiple integration, Oxford University Press, 1994.
    """
    golden = round(0.618 * M)
    g = max(range(max(1, golden - 20), golden + 21), key=lambda g: _square_gap(g, M))
    return torch.arange(M)[:, None] * torch.tensor([1, g][:d]) % M / torch.tensor(M, dtype=torch.float64)


def _square_gap(g: int, M: int) -> int:
    """M² times the least squared distance between points of the lattice (1, g), by Gauss's reduction."""
    a, b = (1, g), (0, M)
    while True:
        if math.hypot(*a) > math.hypot(*b):
            a, b = b, a
        square = a[0] ** 2 + a[1] ** 2
        m = round((a[0] * b[0] + a[1] * b[1]) / square)
        if m == 0:
            return square
        b = (b[0] - m * a[0], b[1] - m * a[1])
