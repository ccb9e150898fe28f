"""Derivatives of an energy by rules, layer by layer, in place of automatic differentiation.

An energy with a rule has a method beside ``forward`` that gives its gradient and its curvatures too:

    derive(x, along, w) -> Derived

for x ``(..., d)``; several heads are weighed with w ``(..., heads)``, or added without it. A module is
derived by rules where it and every module inside have one: any other network is left to autograd, and so is a
subclass with a ``forward`` of its own, or a module with hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from ebmark import perceptron
from ebmark.activations import Activation, activation
from ebmark.layers import Linear


@dataclass(frozen=True, kw_only=True)
class Along:
    """The directions of curvatures v'∇²E v: T of them, or without v every unit vector.

    Attributes:
        v: what broadcasts to ``(..., T, d)`` for x ``(..., d)``; ``(T, d)`` is the same at every point.
        total: sum the curvatures; over every unit vector that is the trace of the Hessian.
    """

    v: Tensor | None = None
    total: bool = True

    def directions(self, x: Tensor) -> Tensor:
        """V itself, or the unit vectors ``(d, d)``."""
        return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) if self.v is None else self.v


class Derived(NamedTuple):
    """Values and derivatives at x ``(..., d)``.

    Attributes:
        value: E(x) ``(...)``.
        gradient: ∇E(x) ``(..., d)``.
        curvature: ``(..., T)``, or their sum ``(...)``; None where no directions were given, or where the
            module leaves curvatures to autograd.
        tangents: F per point that the curvatures cost.
        weight: the sum of w ``(...)``, or the number of heads without it.
    """

    value: Tensor
    gradient: Tensor
    curvature: Tensor | None
    tangents: float = 0
    weight: Tensor | int = 1

    def weigh(self, t: Tensor, *, own: bool = False) -> Tensor:
        """A term ``(...)`` that all heads have in common, as it counts in all; ``own``: ``(..., d)``."""
        if isinstance(self.weight, int):
            return t if self.weight == 1 else self.weight * t
        return (self.weight.unsqueeze(-1) if own else self.weight) * t


class Ruled(Protocol):
    """A module with a rule."""

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """Its derivatives at x."""


def derive(module: nn.Module, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
    """What the module's own rule gives."""
    return cast(Ruled, module).derive(x, along, w)


def parts(module: nn.Module) -> tuple[nn.Module, ...] | None:
    """Every module inside, itself included, where all are derived by rules; None otherwise."""
    return tuple(module.modules()) if _has_rule(module) else None


def hooked(modules: tuple[nn.Module, ...]) -> bool:
    """Whether a call of one of the modules does more than its ``forward``."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in modules
    )


def _has_rule(module: nn.Module) -> bool:
    if "forward" in vars(module):  # replaced on this one object
        return False
    if type(module) is nn.Sequential:
        return is_perceptron(module)
    first = next(c for c in type(module).__mro__ if {"derive", "forward"} & vars(c).keys())
    return "derive" in vars(first) and all(map(_has_rule, module.children()))


def is_perceptron(layers: nn.Sequential) -> bool:
    """Whether linear layers and one smooth activation take turns, with one width in between."""
    linear, between = [*layers][::2], [*layers][1::2]
    if not between or len(linear) != len(between) + 1 or not all(map(_is_linear, linear)):
        return False
    widths = {cast(Tensor, layer.weight).shape[-2] for layer in linear[:-1]}
    kinds = [activation(layer) for layer in between]
    return len(widths) == 1 and kinds[0] is not None and all(kind is kinds[0] for kind in kinds)


def _is_linear(layer: nn.Module) -> bool:
    return type(layer) in (nn.Linear, Linear) and cast(nn.Linear, layer).bias is not None


def derive_layers(layers: nn.Sequential, x: Tensor, along: Along | None, w: Tensor | None) -> Derived:
    """The derivatives of a perceptron's output; its layers may have leading dimensions, as x then has."""
    every = [*layers]
    parameters = [p for layer in every[::2] for p in _flat(cast(nn.Linear, layer))]
    heads, points = parameters[-2].shape[-2], x.shape[:-1]
    lead = parameters[0].shape[:-2]
    v = None
    if along is not None:
        v = along.directions(x)
        v = v[None] if v.dim() == 2 else v.expand(*points, *v.shape[-2:]).reshape(*lead, -1, *v.shape[-2:])
    weights = None if w is None else w.expand(*points, heads).reshape(*lead, -1, heads)
    flat = x if x.dim() == len(lead) + 2 else x.reshape(*lead, points.numel() // lead.numel(), x.shape[-1])
    value, gradient, curvature = perceptron.derive(
        cast(Activation, activation(every[1])),
        flat,
        v,
        weights,
        parameters,
        total=along is not None and along.total,
    )
    if curvature is not None:
        curvature = curvature.reshape((*points, *curvature.shape[len(lead) + 1 :]))
    return Derived(
        value=value.reshape(points),
        gradient=gradient.reshape(x.shape),
        curvature=curvature,
        tangents=0 if v is None else v.shape[-2],
        weight=heads if w is None else w.sum(-1),
    )


def _flat(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias with at most one leading dimension."""
    weight, bias = layer.weight, layer.bias
    return (weight.flatten(0, -3), bias.flatten(0, -2)) if weight.dim() > 3 else (weight, bias)
