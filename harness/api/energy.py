"""The energy as methods and metrics see it."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ebmark.derivatives import hooked, parts
from ebmark.meter import Meter


class Energy:
    """The energy as a method sees it: x ``(..., d)`` -> E(x) ``(...)``, p proportional to exp(-E).

    A method with several ``heads`` gets E(x) ``(..., heads)``. The energy carries the meter, on which ``ops``
    and ``samplers`` count and time themselves. Where x depends on an opponent's parameters (x requires a
    gradient), that opponent's loss costs one input gradient per point.
    """

    def __init__(self, module: nn.Module, meter: Meter | None = None) -> None:
        self.module = module
        self.meter = meter if meter is not None else Meter()
        self._parts: tuple[nn.Module, ...] | None = None  # looked up once, when they are asked for
        self._looked = False

    @property
    def ruled(self) -> bool:
        """Whether its derivatives follow rules (``derivatives``): every module has one, and no hooks."""
        if not self._looked:
            self._parts, self._looked = parts(self.module), True
        return self._parts is not None and not hooked(self._parts)

    def __call__(self, x: Tensor) -> Tensor:
        """E(x) ``(...)``, counted as one forward per point."""
        self.meter.count(points(x), graph=2, through=float(x.requires_grad), forward=1)
        return cast(Tensor, self.module(x))


def points(x: Tensor) -> int:
    """How many points ``x (..., d)`` holds."""
    return x.numel() // x.shape[-1]
