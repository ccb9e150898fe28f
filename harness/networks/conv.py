"""A convolutional energy: for square images, 8 x 8 and 28 x 28 alike."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ebmark.api import Rng, network
from ebmark.errors import SpecError
from ebmark.modules import ACTIVATIONS, Activated, drawn

KERNEL = 3


class Convolutional(nn.Module):
    """x ``(..., side²)``, the rows of an image one after the other -> E(x) ``(...)`` or ``(..., heads)``."""

    def __init__(self, side: int, layers: nn.Module) -> None:
        super().__init__()
        self.side = side
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """The linear head's outputs; a single one loses its axis."""
        E: Tensor = self.layers(x.reshape(-1, 1, self.side, self.side))
        return E.reshape(*x.shape[:-1], E.shape[-1]).squeeze(-1)


@network("conv")
class Conv(Activated):
    """Convolutions of 3 x 3 that halve the image, each with twice the channels of the last; a linear head.

    Attributes:
        channels: of the first layer.
        depth: convolutions; two leave 2 x 2 of an image of 8 x 8, three 4 x 4 of one of 28 x 28.
        activation: silu, softplus, tanh or relu; a relu network has no second derivatives.
        gain: scale of the initial weights.
        base: add the Gaussian base term |x - mu|²/(2 s²).
    """

    many_heads = True
    sizes = ("channels", "depth")
    channels: int = 32
    depth: int = 2
    activation: str = "silu"
    gain: float = 1.5
    base: bool = True

    def skip(self, d: int) -> str | None:
        """The image must be square."""
        square = math.isqrt(d) ** 2 == d
        return None if square else f"conv: data of dimension {d} given; allowed: a square such as 64 or 784"

    def build(self, data: Tensor, rng: Rng, heads: int = 1) -> nn.Module:
        """The energy for images like ``data (n, side²)``.

        Raises:
            SpecError: d is no such square.
        """
        side = math.isqrt(data.shape[-1])
        if reason := self.skip(data.shape[-1]):
            raise SpecError(reason)
        layers: list[nn.Module] = []
        inputs, outputs, edge = 1, self.channels, side
        for _ in range(self.depth):
            layer = nn.Conv2d(inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2, device="meta")
            layers += [drawn(layer, self.gain, data, rng), ACTIVATIONS[self.activation]()]
            inputs, outputs, edge = outputs, 2 * outputs, (edge + 1) // 2
        head = drawn(nn.Linear(inputs * edge**2, heads, device="meta"), 1, data, rng)
        return self.finish(Convolutional(side, nn.Sequential(*layers, nn.Flatten(), head)), data)
