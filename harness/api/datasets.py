"""What a data set is written against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ebmark.api.plugin import Plugin
from ebmark.rng import Rng


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Real data: disjoint rows ``(n, d)`` for training, validation and test."""

    train: Tensor
    val: Tensor
    test: Tensor


class Dataset(Plugin):
    """A target with exact samples; where the truth is known also its log-density.

    Class attributes:
        exact: the log-density is known and normalised.
        smooth: it has a score almost everywhere (a density with score 0 is declined by second-order methods).
    """

    kind = "dataset"
    exact: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    dim: int

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent exact samples ``(n, d)``."""
        raise NotImplementedError(f"{type(self).__name__} has no sample")

    def log_prob(self, x: Tensor) -> Tensor:
        """The normalised log-density ``(...)`` of ``x (..., d)``, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no known density")

    def score(self, x: Tensor) -> Tensor:
        """The gradient of ``log_prob`` ``(..., d)``."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x).sum(), x)
        return gradient

    @property
    def entropy(self) -> float | None:
        """Differential entropy in nats, or None where it is not known."""
        return None

    @property
    def weights(self) -> Tensor | None:
        """The weights ``(K,)`` of the target's known components in float64, or None where it has none."""
        return None

    def components(self, x: Tensor) -> Tensor:
        """The posterior probability ``(..., K)`` of each component, given ``x (..., d)``."""
        raise NotImplementedError(f"{type(self).__name__} has no known components")


class RealDataset(Dataset):
    """Rows of a file; ``splits`` never depends on a trial's seed: every seed is tested on the same rows."""

    exact = False

    def content(self) -> Mapping[str, str]:
        """Settings that a planned trial gets besides those given: ``sha256`` of the files behind the rows.

        With them a trial's id names the rows themselves; where they lie (``path``, ``folder``) is not in it.

        Raises:
            EbmarkError: the files are missing, or not what they should be.
        """
        return {}

    def log_det(self, x: Tensor) -> Tensor | None:
        """What preprocessing adds in nats at ``x (..., d)``: the log-density of the raw data is higher by it.

        None where likelihoods are compared as they are, or nothing was done.
        """
        return None

    def splits(self) -> Splits:
        """Train, validation and test rows (70/15/15)."""
        raise NotImplementedError(f"{type(self).__name__} has no splits")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` training rows drawn with replacement."""
        train = self.splits().train
        return train[rng.integers(len(train), (n,))]
