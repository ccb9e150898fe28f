"""Plug-ins that misbehave on purpose; loaded as a file, the way a user's own are."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, method


class _Plain(Method):
    def passes(self, d: int) -> Passes:
        return Passes(forward=1, backward=2)


@method("explodes", year=2026)
class Explodes(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return energy(x).mean(-1) * torch.nan


@method("raises", year=2026)
class Raises(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        raise RuntimeError("first line\nsecond line")


@method("hoards", year=2026)
class Hoards(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return torch.empty(2**55) + energy(x).mean(-1)


@method("dies", year=2026)
class Dies(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        os._exit(3)


@method("sleeps", year=2026)
class Sleeps(_Plain):
    seconds: float = 0.05

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        time.sleep(self.seconds)
        return energy(x).square().mean(-1)


@method("hangs", year=2026)
class Hangs(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        while True:
            with suppress(BaseException):  # swallows even the request to stop
                time.sleep(1)
