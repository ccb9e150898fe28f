"""A local potential shared along the coordinates: for chains, in any dimension with the same parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebmark.api import Rng, network
from ebmark.modules import Layered


class LocalPotential(nn.Module):
    """E(x) = Σ_{i=0..d} f(x_i, x_{i+1}, [i = 0], [i = d]) with x_0 = x_{d+1} = 0; x ``(..., d)``.

    The two flags let the ends of an open chain differ from its inside.
    """

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``, with several outputs of f ``(..., heads)``."""
        ends = x.new_zeros(x.shape[-1] + 1, 2)
        ends[0, 0] = ends[-1, 1] = 1
        padded = nn.functional.pad(x, (1, 1))
        pairs = torch.stack([padded[..., :-1], padded[..., 1:]], -1)
        E: Tensor = self.f(torch.cat([pairs, ends.expand(*pairs.shape[:-1], 2)], -1))
        return E.sum(-2).squeeze(-1)


@network("chain")
class Chain(Layered):
    """A perceptron on neighbouring pairs, summed: its cost grows with d, its parameters do not.

    Attributes:
        width: units in a hidden layer.
        depth: hidden layers.
        activation: silu, softplus, tanh or relu; a relu network has no second derivatives.
        gain: scale of the initial weights.
        base: add the Gaussian base term |x - mu|²/(2 s²).
    """

    many_heads = True
    width: int = 32
    depth: int = 2
    activation: str = "silu"
    gain: float = 1.5
    base: bool = True

    def build(self, data: Tensor, rng: Rng, heads: int = 1) -> nn.Module:
        """The energy for data like ``data (n, d)``."""
        return self.finish(LocalPotential(self.layers(4, data, rng, heads)), data)
