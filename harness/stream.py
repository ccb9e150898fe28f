"""The batches of a training run, endless, and where in them a run stands."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ebmark.api import Dataset, RealDataset, Rng

BLOCK = 16  # batches of a stream that are drawn at once, so that small draws do not dominate a cheap step


class Batches:
    """Endless batches ``(batch, d)``: a fresh stream, or shuffled epochs over ``train (n, d)``.

    The last, incomplete batch of an epoch is filled from the next one.
    """

    def __init__(self, dataset: Dataset, batch: int, n_train: int | None, train: Tensor, rng: Rng) -> None:
        self._dataset, self._batch, self._train, self._rng = dataset, batch, train, rng
        self._endless = n_train is None and not isinstance(dataset, RealDataset)
        self._drawn: list[Tensor] = []  # batches of the stream that are to follow, the next one last
        self._order = torch.empty(0, dtype=torch.long, device=train.device)  # rows that are to follow

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Tensor:
        if self._endless:
            if not self._drawn:
                points = self._dataset.sample(BLOCK * self._batch, self._rng)
                self._drawn = [*reversed(torch.split(points, self._batch))]
            return self._drawn.pop()
        while len(self._order) < self._batch:
            self._order = torch.cat([self._order, self._rng.permutation(len(self._train))])
        rows, self._order = self._order[: self._batch], self._order[self._batch :]
        return self._train[rows]

    def state(self) -> dict[str, Tensor]:
        """Where the stream stands; ``load`` goes on from there."""
        drawn = {"drawn": torch.stack(self._drawn)} if self._drawn else {}
        return {"rng": self._rng.state(), "order": self._order, **drawn}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what ``state`` gave."""
        self._rng.load(state["rng"])
        device = self._train.device
        self._order = state["order"].to(device)
        self._drawn = [*state["drawn"].to(device)] if "drawn" in state else []
