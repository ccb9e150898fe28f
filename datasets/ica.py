"""Mixed independent components: heavy-tailed logistic sources, and a random matrix to be found.

Reference: Grathwohl et al., Learning the Stein discrepancy for training and evaluating energy-based models
without sampling, ICML 2020, https://arxiv.org/abs/2002.05616, for the experiment.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError

BITS = 52  # of the uniform numbers behind a source; float32's 24 would cut its tails off


def _rotation(name: str, dim: int) -> Tensor:
    """A fixed draw ``(d, d)`` from the uniform law on the orthogonal matrices."""
    Q, R = torch.linalg.qr(Rng.of("ica", name, dim, dtype=torch.float64).normal((dim, dim)))
    uniform: Tensor = Q * R.diagonal().sign()  # QR leaves the columns' signs open
    return uniform


@lru_cache(maxsize=16)
def _factors(dim: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The mixing matrix A ``(d, d)``, the same for every seed, B = A⁻¹ and log |det B|, made in float64."""
    left, right = _rotation("left", dim), _rotation("right", dim)
    singular = ((dim + 1) / 2) ** torch.linspace(0, 1, dim, dtype=torch.float64)
    singular = singular / singular.square().mean().sqrt()
    A, B = (left * singular) @ right.mT, (right / singular) @ left.mT
    return A.to(device, dtype), B.to(device, dtype), -singular.log().sum().to(device, dtype)


@dataset("ica")
class ICA(Dataset):
    """Logistic sources s = xB, mixed to x = sA: log p = Σ(-s - 2 log(1 + e^-s)) + log |det B|.

    A = U diag(c geomspace(1, (d + 1)/2, d)) V' with fixed random rotations U and V: its condition number
    (d + 1)/2 is below d as in the paper, and known; with c the coordinates' mean variance is π²/3 at every d.

    Attributes:
        dim: dimension d, of the sources and of x.
    """

    dim: int = 2

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"ica.dim: {self.dim!r} given; allowed: an integer of at least 1")

    def _factors(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        return _factors(self.dim, dtype, device)

    @property
    def unmixing(self) -> Tensor:
        """B ``(d, d)`` in float64."""
        return self._factors(torch.float64, torch.device("cpu"))[1]

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        A, _, _ = self._factors(rng.dtype, rng.device)
        u = (rng.integers(2**BITS, (n, self.dim)).double() + 0.5) / 2**BITS
        return torch.logit(u).to(rng.dtype) @ A

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        _, B, log_det = self._factors(x.dtype, x.device)
        s = x @ B
        return log_det - (softplus(s) + softplus(-s)).sum(-1)

    def score(self, x: Tensor) -> Tensor:
        """-B tanh(s/2) ``(..., d)``."""
        _, B, _ = self._factors(x.dtype, x.device)
        return -torch.tanh(0.5 * (x @ B)) @ B.mT

    @property
    def entropy(self) -> float:
        """2d - log |det B|, in nats."""
        return 2 * self.dim - self._factors(torch.float64, torch.device("cpu"))[2].item()
