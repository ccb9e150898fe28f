"""Pairs of points: squared distances, and the U-statistic that compares two samples through a kernel.

    D = E k(x, x') + E k(y, y') - 2 E k(x, y),    k a function of the distance

With the Gaussian kernel D is the squared maximum mean discrepancy, with k = -‖x - y‖ the energy distance.

Reference: Sejdinovic et al., Equivalence of distance-based and RKHS-based statistics in hypothesis testing,
Ann. Statist. 41(5), 2013.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

CHUNK = 128  # rows of the kernel at a time: what stays in the cache
MEDIAN_POINTS = 1000  # the median of half a million distances

Kernel = Callable[[Tensor], Tensor]  # of the squared distances; it may overwrite them
Means = tuple[Tensor, Tensor, Tensor, Tensor]


def median_distance(x: Tensor) -> float:
    """The lower median of the distances among the first 1000 rows of ``x (n, d)``."""
    return torch.pdist(x[:MEDIAN_POINTS]).median().item()


def square_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances ``(n, m)`` of ``a (n, d)`` from ``b (m, d)``.

    By matrix products, which lose digits far from the origin: centre both first.
    """
    lengths = a.square().sum(-1)[:, None] + b.square().sum(-1)
    return torch.addmm(lengths, a, b.mT, alpha=-2).clamp_(min=0)


def chunks(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of ``a (n, d)`` from ``b (m, d)``, some rows at a time, each with its start."""
    centre = b.mean(0)
    a, b = a - centre, b - centre
    for start in range(0, len(a), CHUNK):
        yield start, square_distances(a[start : start + CHUNK], b)


def u_statistic(a: Tensor, b: Tensor, kernel: Kernel) -> float:
    """D between ``a (n, d)`` and ``b (m, d)`` without bias: no point is paired with itself."""
    aa, bb, ab, _ = mean_kernels(a, b, kernel)
    return (aa.mean() + bb.mean() - 2 * ab.mean()).item()


def u_statistic_error(a: Tensor, b: Tensor, kernel: Kernel) -> float:
    """Standard error of ``u_statistic`` from its first-order (Hoeffding) projections.

    Both samples count as independent points. Between equal laws the first order vanishes, and what is left in
    the projections makes the error √2 times too large: there the floor's spread is the better guide.

    Reference: Serfling, Approximation theorems of mathematical statistics, 1980, section 5.
    """
    aa, bb, ab, ba = mean_kernels(a, b, kernel)
    return 2 * math.sqrt((aa - ab).var().item() / len(a) + (bb - ba).var().item() / len(b))


def mean_kernels(a: Tensor, b: Tensor, kernel: Kernel) -> Means:
    """Each point's mean kernel with the rest of its own sample (aa, bb) and with the other one (ab, ba)."""
    n, m = len(a), len(b)
    rows, columns = [], torch.zeros(m, dtype=torch.float64, device=b.device)
    for _, squares in chunks(a, b):
        k = kernel(squares)
        rows.append(k.sum(1, dtype=torch.float64))
        columns += k.sum(0, dtype=torch.float64)
    return _own_sums(a, kernel) / (n - 1), _own_sums(b, kernel) / (m - 1), torch.cat(rows) / m, columns / n


def _own_sums(x: Tensor, kernel: Kernel) -> Tensor:
    """Each point's kernel summed over the rest of ``x (n, d)``: ``(n,)``; every pair is taken once."""
    x = x - x.mean(0)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for start in range(0, len(x), CHUNK):
        end = start + CHUNK
        k = kernel(square_distances(x[start:end], x[start:]))
        k.diagonal().zero_()
        total[start:end] += k.sum(1, dtype=torch.float64)
        total[end:] += k[:, CHUNK:].sum(0, dtype=torch.float64)
    return total
