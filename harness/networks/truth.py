"""The perfect model: the target's density as the energy. What an evaluator says of it is its own error."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Network, Rng, beside, network


class Truth(nn.Module):
    """E(x) = -log p(x) - c with the density p of a data set, so that log Z = c."""

    def __init__(self, dataset: Dataset, c: Tensor) -> None:
        super().__init__()
        self.dataset = dataset
        self.c = nn.Parameter(c)

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        log_p = self.dataset.log_prob(x)
        return -log_p - beside(self.c, 0, log_p)

    def log_z(self) -> Tensor:
        """Log Z ``()``: c."""
        return self.c


@network("truth")
class TruthNetwork(Network):
    """The density that the data come from, for checks of metrics and of log Z; declined where it is unknown.

    Maximum likelihood with the known normaliser (``mle[normaliser=known]``) leaves it as it is.

    Attributes:
        log_z: c, which no metric must see.
    """

    of_target: ClassVar[bool] = True
    known_z = True
    log_z: float = 1.0

    def build(  # type: ignore[override]  # of the target it needs to be told
        self, data: Tensor, rng: Rng, dataset: Dataset
    ) -> nn.Module:
        """The energy of the target ``dataset``, in the dtype of ``data (n, d)``."""
        return Truth(dataset, torch.tensor(self.log_z, dtype=data.dtype, device=data.device))
