"""Handwritten digits, 8 x 8 pixels: real data that ship with scikit-learn.

Reference: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI repository, 1998,
https://doi.org/10.24432/C50P49
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import RealDataset, Rng, Splits, dataset

LEVELS = 17  # a pixel is an integer from 0 to 16
ALPHA = 0.05
HELD_OUT = 0.15


def _to_logits(pixels: Tensor) -> Tensor:
    """Logit(α + (1 - 2α) y) of ``pixels`` y in [0, 1]."""
    return torch.logit(ALPHA + (1 - 2 * ALPHA) * pixels)


@lru_cache
def _splits(dtype: torch.dtype, device: torch.device) -> Splits:
    """The rows; the streams of noise and order have constant names, so that every seed sees the same."""
    from sklearn.datasets import load_digits  # slow to import, and wanted by this data set alone

    levels = torch.as_tensor(load_digits().data, dtype=torch.float64)
    noise = Rng.of("digits", "dequantisation", dtype=torch.float64).uniform(levels.shape)
    rows = _to_logits((levels + noise) / LEVELS).to(device, dtype)
    rows = rows[Rng.of("digits", "order").permutation(len(rows)).to(device)]
    held_out = round(HELD_OUT * len(rows))
    train, val, test = torch.split(rows, [len(rows) - 2 * held_out, held_out, held_out])
    return Splits(train=train, val=val, test=test)


@dataset("digits")
class Digits(RealDataset):
    """1797 digits of 64 pixels: x = logit(α + (1 - 2α) y), y = (level + u)/17.

    The level is an integer from 0 to 16 and u is uniform on [0, 1), drawn once and for all: with it a
    density of y bounds the probability of the levels (Uria et al., 2013). α = 0.05 is the value of Dinh et
    al. (2017). Half of the pixels are blank, and the 1e-6 that is usual for flows on MNIST gives those a
    tail to -14 that is noise alone; with 0.05 every coordinate lies within ±2.95.

    References: Uria, Murray and Larochelle, RNADE, NeurIPS 2013; Dinh, Sohl-Dickstein and Bengio, Density
    estimation using Real NVP, ICLR 2017.
    """

    dim = 64

    def splits(self) -> Splits:
        """Train, validation and test rows: 1257, 270 and 270, in float32 on the CPU."""
        return _splits(torch.float32, torch.device("cpu"))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` training rows ``(n, 64)`` drawn with replacement."""
        train = _splits(rng.dtype, rng.device).train
        return train[rng.integers(len(train), (n,))]

    def to_pixels(self, x: Tensor) -> Tensor:
        """The pixels y of data ``x (..., 64)``: in [0, 1] where |x| <= logit(0.95); the level is ⌊17 y⌋."""
        return (x.sigmoid() - ALPHA) / (1 - 2 * ALPHA)

    def log_det(self, x: Tensor) -> Tensor:
        """What the transform adds in nats at ``x (..., 64)``: log p(y) = log p(x) + log |det dx/dy|.

        y is the space of most published likelihoods, pixels scaled to [0, 1]. In units of one level, where
        bits per dimension are counted, the log-density is 64 log 17 lower.
        """
        return (math.log(1 - 2 * ALPHA) + softplus(x) + softplus(-x)).sum(-1)
