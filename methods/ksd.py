r"""Kernel Stein discrepancy (Liu, Lee and Jordan, 2016; as a training loss Barp et al., 2019).

    J(θ) = mean over i ≠ j of  s_i's_j κ + s_i'∇_y κ + s_j'∇_x κ + tr ∇_x∇_y κ,    s = -∇E_θ

at (x_i, x_j), with the inverse multiquadric κ(x, y) = (1 + |x - y|²/ℓ²)^(-½). The square of a distance
between scores, smoothed by the kernel; minimised by p_θ = p_d, without Z and without second derivatives.

It sees scores at data only, averaged by the kernel: where modes lie apart, a network's energy between them is
left to chance, and longer training makes that worse.

Reference: A kernelized Stein discrepancy for goodness-of-fit tests, ICML 2016,
https://arxiv.org/abs/1602.03253
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, method
from ebmark.errors import SpecError
from ebmark.ops import score

# Over 80 lines because the kernel's derivatives are written out; automatic ones would cost d times as much.
ROWS = 1000  # data points behind the median distance


@method("ksd", year=2016)
class KernelSteinDiscrepancy(Method):
    """The U-statistic, without the diagonal, which would move the minimiser.

    Attributes:
        bandwidths: lengths ℓ of the kernels whose mean is used, in units of the data's median distance, which
            is taken once, before the first step.
    """

    check_batch: ClassVar = 64
    bandwidths: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.bandwidths or not min(self.bandwidths) > 0:
            raise SpecError(f"ksd.bandwidths: {list(self.bandwidths)} given; allowed: positive numbers")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """Freezes the kernels' lengths ``(kernels,)``."""
        median = torch.pdist(data[rng.permutation(len(data))[:ROWS]]).median()
        return State(buffers={"lengths": median * median.new_tensor(self.bandwidths)})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        n, d = x.shape[-2:]
        s = score(energy, x)
        x = x - x.mean(-2, keepdim=True)  # distances by products lose fewer digits near the origin
        xx, xs = x @ x.mT, x @ s.mT
        square = (_paired(xx) - 2 * xx).clamp(min=0)
        mixed = _paired(xs) - xs - xs.mT  # (s_i - s_j)'(x_i - x_j), the factor of both mixed terms
        total = torch.zeros_like(square)
        for length in state.buffers["lengths"][..., None, None].unbind(-3):
            κ = (1 + square / length**2).rsqrt()
            total = total + κ * (s @ s.mT) + κ**3 / length**2 * (mixed + d - 3 * κ**2 * square / length**2)
        off_diagonal = total.sum((-2, -1)) - total.diagonal(dim1=-2, dim2=-1).sum(-1)
        return off_diagonal / (n * (n - 1) * len(self.bandwidths))

    def passes(self, d: int) -> Passes:
        """6 F; the n² kernel needs no pass."""
        return Passes(forward=1, input_gradient=1, backward=4)

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The kernels' lengths, from the root mean square distance √(2dv)."""
        return State(buffers={"lengths": math.sqrt(2 * len(mu) * v) * mu.new_tensor(self.bandwidths)})

    @classmethod
    def examples(cls, v: float) -> tuple[KernelSteinDiscrepancy, ...]:
        """The default, and several kernels."""
        return cls(), cls(bandwidths=(0.3, 1.0))

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """The density must have a score."""
        return None if dataset.smooth else f"the density of {dataset.name} has no score"


def _paired(products: Tensor) -> Tensor:
    """The sum of the i-th and the j-th entry of the diagonal, at ``(..., i, j)``."""
    own = products.diagonal(dim1=-2, dim2=-1)
    return own[..., :, None] + own[..., None, :]
