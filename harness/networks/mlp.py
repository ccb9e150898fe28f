"""A fully connected energy: for low dimension and for data without a known structure."""

from __future__ import annotations

from torch import Tensor, nn

from ebmark.api import Rng, network
from ebmark.derivatives import Along, Derived, derive_layers
from ebmark.modules import Layered


class Perceptron(nn.Module):
    """x ``(..., d)`` -> E(x) ``(...)``, with several outputs ``(..., heads)``."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's outputs; a single one loses its axis."""
        E: Tensor = self.layers(x)
        return E.squeeze(-1)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """The layers' own."""
        return derive_layers(self.layers, x, along, w)


@network("mlp")
class MLP(Layered):
    """Multi-layer perceptron.

    Attributes:
        width: units in a hidden layer.
        depth: hidden layers.
        activation: silu, softplus, tanh or relu; a relu network has no second derivatives.
        gain: scale of the initial weights.
        base: add the Gaussian base term |x - mu|²/(2 s²).
    """

    many_heads = True
    width: int = 128
    depth: int = 3
    activation: str = "silu"
    gain: float = 1.5
    base: bool = True

    def build(self, data: Tensor, rng: Rng, heads: int = 1) -> nn.Module:
        """The energy for data like ``data (n, d)``."""
        return self.finish(Perceptron(self.layers(data.shape[-1], data, rng, heads)), data)
