"""Randomness: named, reproducible streams that a loss receives as an argument.

A stream is keyed by strings and integers, e.g. ``Rng.of("gaussian", 3, "data")``; the same key always gives
the same numbers, whatever else the process has drawn. ``Rng.stack`` puts R streams side by side: every draw
then has a leading index of length R, and slice r is what stream r alone would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]


def _digest(*key: object) -> int:
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1  # torch seeds are signed


class Rng:
    """One stream of random numbers, or R of them side by side.

    Args:
        seeds: one seed, or R seeds for R parallel streams (``lead == (R,)``).
        device: where the numbers are drawn; a stream's numbers depend on the kind of device.
        dtype: type of the floating-point draws.
    """

    def __init__(
        self,
        seeds: int | Sequence[int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.lead: tuple[int, ...] = () if isinstance(seeds, int) else (len(seeds),)
        self.seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)
        self.device = torch.device(device)
        self.dtype = dtype
        self._generators = [torch.Generator(self.device).manual_seed(seed) for seed in self.seeds]

    @classmethod
    def of(cls, *key: object, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Rng:
        """The stream named by ``key``."""
        return cls(_digest(*key), device=device, dtype=dtype)

    def stack(self, n: int) -> Rng:
        """``n`` independent streams side by side, derived from this one's name."""
        return Rng([_digest(self.seeds[0], i) for i in range(n)], device=self.device, dtype=self.dtype)

    def split(self, name: str) -> Rng:
        """A stream of its own, derived from this one's name (not from how much it has drawn)."""
        seeds = [_digest(seed, name) for seed in self.seeds]
        return Rng(seeds if self.lead else seeds[0], device=self.device, dtype=self.dtype)

    def only(self, runs: Sequence[int]) -> Rng:
        """Those of the streams that are side by side, each where it stands."""
        kept = Rng([self.seeds[i] for i in runs], device=self.device, dtype=self.dtype)
        kept._generators = [self._generators[i] for i in runs]
        return kept

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers."""
        return self._draw(
            shape, lambda s, g: torch.randn(s, generator=g, device=self.device, dtype=self.dtype)
        )

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers uniform on [0, 1)."""
        return self._draw(
            shape, lambda s, g: torch.rand(s, generator=g, device=self.device, dtype=self.dtype)
        )

    def sign(self, shape: Sequence[int]) -> Tensor:
        """Rademacher numbers: -1 or 1 with equal probability."""
        bits = self.integers(2, shape)
        return bits.to(self.dtype).mul_(2).sub_(1)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Integers uniform on 0, ..., high - 1."""
        return self._draw(shape, lambda s, g: torch.randint(high, s, generator=g, device=self.device))

    def permutation(self, n: int) -> Tensor:
        """A random order of 0, ..., n - 1; one row per leading index."""
        return self._draw((*self.lead, n), lambda s, g: torch.randperm(n, generator=g, device=self.device))

    def subset(self, high: int, n: int) -> Tensor:
        """``n`` different integers of 0, ..., high - 1, each as likely as any other; per leading index a row.

        One of each of n neighbouring ranges, which start anywhere: n draws, a permutation needs ``high``.
        Close integers are less often together than in a permutation.
        """
        width = high // n
        within = self.integers(width, (*self.lead, n)) + width * torch.arange(n, device=self.device)
        return (within + self.integers(high, (*self.lead, 1))) % high

    def _draw(self, shape: Sequence[int], draw: _Draw) -> Tensor:
        shape = tuple(shape)
        if not self.lead:
            return draw(shape, self._generators[0])
        if shape[:1] != self.lead:
            raise ValueError(
                f"a draw from {self.lead[0]} streams needs that leading length, got shape {shape}"
            )
        return torch.stack([draw(shape[1:], g) for g in self._generators])

    def state(self) -> Tensor:
        """The generators' states, one row each; ``load`` continues from there."""
        return torch.stack([g.get_state() for g in self._generators])

    def load(self, state: Tensor) -> None:
        """Continues from a state saved by ``state``."""
        for generator, row in zip(self._generators, state, strict=True):
            generator.set_state(row.clone())
