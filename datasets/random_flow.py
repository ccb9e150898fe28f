"""Data of a fixed random flow: folds and curves that no formula of ours suggests, with the exact density.

Reference: Dinh, Krueger and Bengio, NICE, ICLR workshop 2015, https://arxiv.org/abs/1410.8516, for additive
couplings.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError

STEEPNESS = 2.0  # root mean square of what enters a tanh, at a unit input
Layer = tuple[Tensor, Tensor, Tensor, Tensor]


@lru_cache(maxsize=16)
def _layers(dim: int, layers: int, dtype: torch.dtype, device: torch.device) -> tuple[Layer, ...]:
    """The rotation Q ``(d, d)``, and U ``(a, h)``, c ``(h,)`` and V ``(h, d - a)`` of each layer.

    Made in float64, the same for every seed; a flow begins with the layers of every shorter one.
    """
    kept = (dim + 1) // 2
    hidden = max(8, kept)
    found = []
    for i in range(layers):
        rng = Rng.of("random_flow", "layer", dim, i, dtype=torch.float64)
        Q, R = torch.linalg.qr(rng.normal((dim, dim)))
        U = STEEPNESS / math.sqrt(kept) * rng.normal((kept, hidden))
        c = STEEPNESS * rng.normal((hidden,))
        V = rng.normal((hidden, dim - kept)) / math.sqrt(hidden)
        parts = (Q * R.diagonal().sign(), U, c, V)
        found.append(tuple(part.to(device, dtype) for part in parts))
    return tuple(found)  # type: ignore[arg-type]  # four tensors each


@dataset("random_flow")
class RandomFlow(Dataset):
    """The law of f_L(... f_1(z)), z ~ N(0, I), each f a rotation y = Qx, then a shift of the second half.

    The shift strength · V' tanh(U'y_1 + c) depends on the first half y_1; Q, U, V and c are fixed random
    numbers. Every layer preserves volume, so that the density is that of z and the entropy is known.

    Attributes:
        dim: dimension d.
        layers: L, how often the data are bent.
        strength: root mean square of a shift, about; 0 leaves a Gaussian.
    """

    dim: int = 2
    layers: int = 4
    strength: float = 1.5

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 2:
            raise SpecError(f"random_flow.dim: {self.dim!r} given; allowed: an integer of at least 2")
        if type(self.layers) is not int or not 1 <= self.layers <= 32:
            raise SpecError(f"random_flow.layers: {self.layers!r} given; allowed: an integer from 1 to 32")
        if type(self.strength) not in (int, float) or not 0 <= self.strength <= 10:
            raise SpecError(f"random_flow.strength: {self.strength!r} given; allowed: a number from 0 to 10")

    def _shift(self, y: Tensor, layer: Layer) -> Tensor:
        """What a layer adds to ``y (..., d)``: 0 to the first half, a function of it to the second."""
        _, U, c, V = layer
        shift = self.strength * torch.tanh(y[..., : len(U)] @ U + c) @ V
        return torch.cat([torch.zeros_like(y[..., : len(U)]), shift], -1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        x = rng.normal((n, self.dim))
        for layer in _layers(self.dim, self.layers, rng.dtype, rng.device):
            y = x @ layer[0].mT
            x = y + self._shift(y, layer)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        for layer in reversed(_layers(self.dim, self.layers, x.dtype, x.device)):
            x = (x - self._shift(x, layer)) @ layer[0]
        return -0.5 * x.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)

    @property
    def entropy(self) -> float:
        """That of z, d/2 log 2πe, in nats."""
        return 0.5 * self.dim * math.log(2 * math.pi * math.e)
