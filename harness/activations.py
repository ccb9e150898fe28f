"""Activation functions with their first three derivatives, and the gradient that flows back through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

THRESHOLD = 20  # beyond which torch takes softplus to be linear
_aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Activation:
    """σ: R -> R. Everything but ``value`` is for the eyes of no autograd.

    Attributes:
        value: σ(z).
        into: σ(z), written where the argument ``out`` says.
        derivatives: σ'(z), σ''(z), ... up to an order of 2 or 3, of z and σ(z).
        keep: σ(z) and what ``pull`` needs of it; z may be overwritten.
        pull: g σ'(z) of g, σ(z) and what was kept.
    """

    value: Callable[[Tensor], Tensor]
    into: Callable[..., Tensor]
    derivatives: Callable[[Tensor, Tensor, int], tuple[Tensor, ...]]
    keep: Callable[[Tensor], tuple[Tensor, Tensor]]
    pull: Callable[[Tensor, Tensor, Tensor], Tensor]


# Each operation below is one pass over memory; next to a layer's matrix products they are not small.


def _silu(z: Tensor, y: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ' = s + zp, σ'' = 2p + zp', σ''' = 3p' + zp'' with the logistic s and p = s' = s - s²."""
    s = z.sigmoid()
    p = torch.addcmul(s, s, s, value=-1)
    p1 = torch.addcmul(p, p, s, value=-2)
    first, second = torch.addcmul(s, z, p), (2 * p).addcmul_(z, p1)
    if order == 2:
        return first, second
    p2 = torch.addcmul(p1, p1, s, value=-2).addcmul_(p, p, value=-2)
    return first, second, (3 * p1).addcmul_(z, p2)


def _silu_keep(z: Tensor) -> tuple[Tensor, Tensor]:
    s = z.sigmoid()
    return z.mul_(s), s


def _silu_pull(g: Tensor, y: Tensor, s: Tensor) -> Tensor:
    """σ' = s + y(1 - s), between y and 1: the logistic s of the forward pass spares a second exponential."""
    return torch.lerp(y, y.new_ones(()), s).mul_(g)


def _softplus(z: Tensor, y: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ' = s, σ'' = s - s², σ''' = σ''(1 - 2s) with the logistic s."""
    s = z.sigmoid().masked_fill_(z > THRESHOLD, 1)
    second = torch.addcmul(s, s, s, value=-1)
    return (s, second) if order == 2 else (s, second, torch.addcmul(second, second, s, value=-2))


def _tanh(z: Tensor, y: Tensor, order: int) -> tuple[Tensor, ...]:
    """σ' = 1 - σ², σ'' = -2σσ', σ''' = -2(σ'² + σσ'')."""
    first = 1 - y * y
    second = -2 * y * first
    third = () if order == 2 else (-2 * torch.addcmul(first * first, y, second),)
    return first, second, *third


_OF: Mapping[type[nn.Module], Activation] = {
    nn.SiLU: Activation(
        value=silu,
        into=_aten.silu.out,
        derivatives=_silu,
        keep=_silu_keep,
        pull=_silu_pull,
    ),
    nn.Softplus: Activation(
        value=softplus,
        into=partial(_aten.softplus.out, beta=1, threshold=THRESHOLD),
        derivatives=_softplus,
        keep=lambda z: (softplus(z), z),
        pull=lambda g, y, z: _aten.softplus_backward(g, z, 1, THRESHOLD),
    ),
    nn.Tanh: Activation(
        value=torch.tanh,
        into=torch.tanh,
        derivatives=_tanh,
        keep=lambda z: (y := torch.tanh(z), y),
        pull=lambda g, y, _: _aten.tanh_backward(g, y),
    ),
}


def activation(module: nn.Module) -> Activation | None:
    """What a torch module computes, where it is one of the smooth activations at torch's settings."""
    if type(module) is nn.Softplus and (module.beta, module.threshold) != (1, THRESHOLD):
        return None
    return _OF.get(type(module))
