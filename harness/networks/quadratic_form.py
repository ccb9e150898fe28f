"""Quadratic energies of either sign: what the logarithm of a ratio of two Gaussians is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.api import Network, Rng, network
from ebmark.derivatives import Along, Derived
from ebmark.layers import linear

START = 0.01  # of the initial matrices' noise, in units of 1/s²: enough to tell the heads apart


class Forms(nn.Module):
    """E_h(x) = ½ x'A_h x + b_h'x ``(..., heads)``; only the symmetric part of A_h ``(d, d)`` counts."""

    def __init__(self, A: Tensor, b: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)  # (heads, d, d), with leading dimensions for runs side by side
        self.b = nn.Parameter(b)

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> the energies ``(..., heads)``; a single one loses its axis."""
        # Each row is Ax + 2b, so that half its product with x is the energy.
        rows = linear(x, self.A.flatten(-3, -2), 2 * self.b.flatten(-2))
        E = 0.5 * (self._heads(rows) * x.unsqueeze(-2)).sum(-1)
        return E.squeeze(-1)

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.reshape(*rows.shape[:-1], *self.b.shape[-2:])

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """∇E_h = ½ (A_h + A_h')x + b_h; curvatures are left to autograd."""
        E = self.forward(x)
        if self.b.shape[-2] == 1:
            E = E.unsqueeze(-1)
        symmetric = 0.5 * (self.A + self.A.mT)
        if w is None:
            gradient = linear(x, symmetric.sum(-3), self.b.sum(-2))
            return Derived(E.sum(-1), gradient, None, weight=self.b.shape[-2])
        each = self._heads(linear(x, symmetric.flatten(-3, -2), self.b.flatten(-2)))
        return Derived((w * E).sum(-1), (w.unsqueeze(-1) * each).sum(-2), None, weight=w.sum(-1))


@network("quadratic_form")
class QuadraticForm(Network):
    """Free quadratic energies: one starts as N(0, s² I), several near zero; s² is the data's mean variance.

    Of either sign, as a ratio of Gaussians needs it: exp(-E) may have no finite integral. For methods that
    learn ratios; for a density take ``quadratic``.
    """

    normalisable = False
    many_heads = True

    def build(self, data: Tensor, rng: Rng, heads: int = 1) -> nn.Module:
        """The energy for data like ``data (n, d)``."""
        d = data.shape[-1]
        noise = rng.normal((heads, d, d)).to(data) * (START / math.sqrt(d))
        start = torch.eye(d).to(data) if heads == 1 else data.new_zeros(d, d)
        return Forms((start + noise) / data.var(0).mean(), data.new_zeros(heads, d))
