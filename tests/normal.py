"""A standard normal target and quadratic energies with their log Z, for the tests of metrics."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ebmark.api import Dataset, Rng, Value, dataset

LOG_2PI = math.log(2 * math.pi)


@dataset("test_normal")
class Normal(Dataset):
    """N(0, I)."""

    dim: int = 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, self.dim))

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * x.square().sum(-1) - 0.5 * self.dim * LOG_2PI


@dataset("test_unknown")
class Unknown(Normal):
    """The same without a known density: like rows of a file."""

    exact = False


class Quadratic(nn.Module):
    """E = k|x - m|²/2 + c, with log Z = d/2 log(2 pi / k) - c."""

    def __init__(self, mean: float = 0.0, precision: float = 1.0, constant: float = 0.0) -> None:
        super().__init__()
        self.mean, self.precision, self.constant = mean, precision, constant

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.precision * (x - self.mean).square().sum(-1) + self.constant

    def log_z(self, d: int) -> float:
        return 0.5 * d * math.log(2 * math.pi / self.precision) - self.constant


def exactly(value: float, se: float = 0.0) -> Value:
    return Value(value=value, se=se, lo=value - 2 * se, hi=value + 2 * se)
