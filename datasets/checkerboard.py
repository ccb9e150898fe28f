"""A checkerboard: flat squares with sharp edges, a density without a score.

Reference: Grathwohl et al., FFJORD, ICLR 2019, https://arxiv.org/abs/1810.01367, for the board.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset

SIDE = 2.0
BITS = 20  # of a place in a square: the sum with the square's corner is exact in float32


@dataset("checkerboard")
class Checkerboard(Dataset):
    """Uniform on the eight squares of side 2 in [-4, 4]² whose column and row have an even sum.

    Its score is 0 wherever there is one, so that methods built on the score decline it. It has no settings.
    """

    smooth = False
    dim = 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, 2)``."""
        column = rng.integers(4, (n,)) - 2
        row = 2 * rng.integers(2, (n,)) - 2 + column % 2
        place = (rng.integers(2**BITS, (n, 2)).to(rng.dtype) + 0.5) / 2**BITS
        x: Tensor = SIDE * (torch.stack([column, row], -1) + place)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """-log 32 on the squares, -inf elsewhere ``(...)``, of ``x (..., 2)``."""
        square = (x / SIDE).floor()
        inside = (square.sum(-1) % 2 == 0) & ((square >= -2) & (square < 2)).all(-1)
        value = torch.full_like(x[..., 0], -self.entropy)
        return torch.where(inside, value, -math.inf)

    def score(self, x: Tensor) -> Tensor:
        """0 ``(..., 2)``."""
        return torch.zeros_like(x)

    @property
    def entropy(self) -> float:
        """Log 32, in nats."""
        return math.log(8 * SIDE**2)
