"""Plug-ins that misbehave on purpose; loaded as a file, the way a user's own are."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, method


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


@method("bursts", year=2026)
class Bursts(_Plain):
    """Its loss is NaN from a step on that its stream decides."""

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        return State(buffers={"left": 5 + rng.integers(60, ())})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        left = state.buffers["left"] - 1
        loss = energy(x).square().mean(-1)
        loss = torch.where(left < 0, torch.nan, loss)
        return Step(losses={"energy": loss}, state=state.update(left=left))


@method("peeks", year=2026)
class Peeks(_Plain):
    """What it does depends on a number that it takes out of a tensor."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        E = energy(x)
        return E.square().mean(-1) if E.mean() > 0 else E.abs().mean(-1)


@method("mixes", year=2026)
class Mixes(_Plain):
    """It forgets that there may be several runs."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return energy(x - x.mean(0)).square().mean(-1)
