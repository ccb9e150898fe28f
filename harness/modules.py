"""Building blocks of the registered networks: perceptrons with a given gain, and the Gaussian base term."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ebmark.api import Network, Rng, beside
from ebmark.derivatives import Along, Derived, derive
from ebmark.errors import SpecError
from ebmark.layers import Linear

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
SMOOTH = frozenset(ACTIVATIONS) - {"relu"}


M = TypeVar("M", bound=nn.Module)


def stacked(modules: Sequence[M]) -> M:
    """R modules of one structure as one: every parameter and buffer has a leading dimension R.

    It maps x ``(R, n, d)`` to E(x) ``(R, n)``, run r through module r. Every network but ``conv`` can.
    """
    together = copy.deepcopy(modules[0])
    for name, part in together.named_modules():
        parts = [module.get_submodule(name) for module in modules]
        for key, _ in part.named_parameters(recurse=False):
            values = torch.stack([p.get_parameter(key).detach() for p in parts])
            setattr(part, key, nn.Parameter(values))
        for key, _ in part.named_buffers(recurse=False):
            setattr(part, key, torch.stack([p.get_buffer(key) for p in parts]))
    return together


L = TypeVar("L", nn.Linear, nn.Conv2d)


def drawn(layer: L, gain: float, like: Tensor, rng: Rng) -> L:
    """The ``layer`` in the dtype and on the device of ``like``, its weights and biases drawn from ``rng``.

    Weights are N(0, gain²/fan-in), biases uniform on ±1/√fan-in.
    """
    layer = layer.to(like.dtype).to_empty(device=like.device)
    fan_in = layer.weight[0].numel()
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(rng.normal(layer.weight.shape) * (gain / math.sqrt(fan_in)))
        layer.bias.copy_((2 * rng.uniform(layer.bias.shape) - 1) / math.sqrt(fan_in))
    return layer


def perceptron(
    inputs: int,
    *,
    width: int,
    depth: int,
    activation: str,
    gain: float,
    like: Tensor,
    rng: Rng,
    outputs: int = 1,
) -> nn.Sequential:
    """``inputs`` -> ``depth`` hidden layers of ``width`` -> ``outputs``, in dtype and on device of ``like``.

    The last layer has a gain of 1. With torch's default scale (a gain of about 0.58) an energy starts so flat
    that it stalls for hundreds of steps.
    """
    sizes = [inputs, *[width] * depth, outputs]
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        last = i == depth
        linear = drawn(Linear(fan_in, fan_out, device="meta"), 1 if last else gain, like, rng)
        layers += [linear] if last else [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class GaussianBase(nn.Module):
    """E(x) = f(x) + |x - mu|²/(2 s²): normalisable whenever f is bounded below more slowly than the square.

    s is 1.5 times the largest standard deviation of the data, so that the base alone is never the answer.
    """

    mean: Tensor
    precision: Tensor

    def __init__(self, f: nn.Module, data: Tensor) -> None:
        super().__init__()
        self.f = f
        self.register_buffer("mean", data.mean(0))
        self.register_buffer("precision", (1.5**2 * data.var(0).max()).reciprocal())

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``; where f has several heads, ``(..., heads)``, the base in each."""
        f: Tensor = self.f(x)
        gap = x - beside(self.mean, 1, x)
        square = gap.square().sum(-1)
        base = 0.5 * beside(self.precision, 0, square) * square
        return f + (base if f.dim() < x.dim() else base[..., None])

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """Those of f, and those of the base, (x - mu)/s² and |v|²/s², once for each head."""
        f, gap = derive(self.f, x, along, w), x - beside(self.mean, 1, x)
        slope, curvature = beside(self.precision, 0, gap) * gap, f.curvature
        if along is not None and curvature is not None:
            square = along.directions(x).square().sum(-1)
            square = square.sum(-1) if along.total else square
            curvature = curvature + f.weigh(
                beside(self.precision, 0, curvature) * square, own=not along.total
            )
        value = torch.add(f.value, f.weigh((slope * gap).sum(-1)), alpha=0.5)
        return f._replace(value=value, gradient=f.gradient + f.weigh(slope, own=True), curvature=curvature)


class Activated(Network):
    """What networks of layers with one kind of activation share: its settings and their limits."""

    sizes: ClassVar[tuple[str, ...]] = ("width", "depth")
    activation: str
    gain: float
    base: bool

    def __post_init__(self) -> None:
        for key in self.sizes:
            if getattr(self, key) < 1:
                raise SpecError(f"{self.name}.{key}: {getattr(self, key)} given; allowed: at least 1")
        if self.activation not in ACTIVATIONS:
            raise SpecError(
                f"{self.name}.activation: {self.activation!r} given; allowed: {', '.join(ACTIVATIONS)}"
            )

    @property
    def smooth(self) -> bool:  # type: ignore[override]  # follows the activation here
        """Whether the activation has a second derivative."""
        return self.activation in SMOOTH

    @property
    def normalisable(self) -> bool:  # type: ignore[override]  # follows the settings here
        """Whether the Gaussian base term is there."""
        return self.base

    def finish(self, f: nn.Module, data: Tensor) -> nn.Module:
        """``f`` with the Gaussian base term where it is wanted."""
        return GaussianBase(f, data) if self.base else f


class Layered(Activated):
    """What networks made of one perceptron share."""

    width: int
    depth: int

    def layers(self, inputs: int, data: Tensor, rng: Rng, heads: int = 1) -> nn.Sequential:
        """The perceptron itself, from ``inputs`` numbers to one for each head."""
        return perceptron(
            inputs,
            width=self.width,
            depth=self.depth,
            activation=self.activation,
            gain=self.gain,
            like=data,
            rng=rng,
            outputs=heads,
        )
