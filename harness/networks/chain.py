"""A local potential shared along the coordinates: for chains, in any dimension with the same parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebmark.api import Rng, network
from ebmark.derivatives import Along, Derived, derive_layers
from ebmark.modules import Layered


class LocalPotential(nn.Module):
    """E(x) = Σ_{i=0..d} f(x_i, x_{i+1}, [i = 0], [i = d]) with x_0 = x_{d+1} = 0; x ``(..., d)``.

    The two flags let the ends of an open chain differ from its inside.
    """

    def __init__(self, f: nn.Sequential) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``, with several outputs of f ``(..., heads)``."""
        E: Tensor = self.f(self._pairs(x, 1))
        return E.sum(-2).squeeze(-1)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """The sum over pairs; ∂²E/∂x_i² lies in the two pairs of x_i, so that a trace needs two tangents."""
        pairs = self._pairs(x, 1)
        inside = Along(v=torch.eye(2, 4, dtype=x.dtype, device=x.device), total=False)
        if along is not None and along.v is not None:
            inside = Along(v=self._pairs(along.v, 0).movedim(-3, -2), total=along.total)
        f = derive_layers(self.f, pairs, inside if along else None, None if w is None else w.unsqueeze(-2))
        g, c = f.gradient, f.curvature
        if along is not None and c is not None:
            trace = along.v is None
            c = c[..., 1:, 0].sum(-1) + c[..., :-1, 1].sum(-1) if trace else c.sum(-1 if along.total else -2)
        return f._replace(
            value=f.value.sum(-1),
            gradient=g[..., :-1, 1] + g[..., 1:, 0],
            curvature=c,
            weight=f.weight if w is None else w.sum(-1),
        )

    def _pairs(self, x: Tensor, flag: float) -> Tensor:
        """The inputs of f ``(..., d + 1, 4)``; a direction has flags of 0."""
        ends = x.new_zeros(x.shape[-1] + 1, 2)
        ends[0, 0] = ends[-1, 1] = flag
        padded = nn.functional.pad(x, (1, 1))
        pairs = torch.stack([padded[..., :-1], padded[..., 1:]], -1)
        return torch.cat([pairs, ends.expand(*pairs.shape[:-1], 2)], -1)


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
