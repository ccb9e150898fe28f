r"""Gradient and curvatures of a perceptron, written out: forward operations and their one backward by hand.

    z_l = h_{l-1} W_l' + b_l,    h_l = σ(z_l),    f = w'(W h_m + b)
    g_{l-1} = (g_l ∘ σ'(z_l)) W_l from g_m = w'W,                 ∇f = g_0
    t_l = (σ'(z_{l-1}) ∘ t_{l-1}) W_l' from t_1 = v W_1',         v'∇²f v = Σ_l Σ (g_l ∘ σ''(z_l)) ∘ t_l²

With g at hand a curvature costs one pass of tangents t, where a Hessian-vector product costs two. For the
trace v runs through the unit vectors: then t_1 holds the columns of W_1, without a product and without the
points. The backward pass costs twice what all of that does. What does not depend on the layer before is done
for all m hidden layers at once, since they have one width: small batches cost little but their calls.

Shapes: x ``(N, i)``, v ``(N, T, i)`` or ``(1, T, i)``, weights ``(o, i)``; or all with one leading dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ebmark.activations import Activation
from ebmark.layers import linear

# Longer than most: the backward pass mirrors the forward pass line by line, and the two are read together.


@dataclass(frozen=True, kw_only=True)
class Tape:
    """What the forward pass leaves behind, a row per hidden layer ``(m, N, k)``.

    Attributes:
        h: σ(z).
        d: σ'(z), σ''(z) and, where there are tangents, σ'''(z).
        g, u: the gradient in h and in z.
        t: the tangents of each layer ``(N, T, k)``; ``(1, T, k)`` where they are the same at every point.
        q: their squares ``(m, N, T, k)``, or the sum of these over T ``(m, N, 1, k)``.
    """

    h: Tensor
    d: tuple[Tensor, ...]
    g: Tensor
    u: Tensor
    t: Sequence[Tensor] = ()
    q: Tensor | None = None


def derive(
    σ: Activation,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    parameters: Sequence[Tensor],
    total: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Value ``(N)``, gradient ``(N, i)`` and curvatures ``(N, T)`` along v, or their sum over T ``(N)``.

    ``parameters``: weight and bias, layer by layer. ``w (N, heads)`` weighs several outputs; without it they
    are added.
    """
    if v is None and not torch.is_grad_enabled():
        return *_slope(σ, x, w, parameters), None
    out = _Derive.apply(σ, total, x, v, w, *parameters)  # type: ignore[no-untyped-call]
    return out if v is not None else (*out, None)


def _affine(h: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    if weight.dim() == 2:
        torch.addmm(bias, h, weight.mT, out=out)
    else:
        torch.baddbmm(bias.unsqueeze(-2), h, weight.mT, out=out)


def _times(t: Tensor, matrix: Tensor) -> Tensor:
    """The product t matrix ``(N, T, o)`` of ``t (N, T, k)``."""
    y = t.flatten(-3, -2) @ matrix
    return y.view(*y.shape[:-2], *t.shape[-3:-1], y.shape[-1])


def _over_t(t: Tensor) -> Tensor:
    """The sum over T ``(..., k)`` of ``t (..., T, k)``; torch is slow to sum what needs no sum."""
    return t.squeeze(-2) if t.shape[-2] == 1 else t.sum(-2)


def _top(h: Tensor, w: Tensor | None, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Value ``(N)`` and g_m ``(N, k)``."""
    out = linear(h, weight, bias)
    if w is not None:
        return (out * w).sum(-1), w @ weight
    if weight.shape[-2] == 1:
        return out.squeeze(-1), weight.expand_as(h)
    return out.sum(-1), weight.sum(-2, keepdim=True).expand_as(h)


def _slope(σ: Activation, x: Tensor, w: Tensor | None, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Value ``(N)`` and gradient ``(N, i)``; autograd does not follow it."""
    h, passed = x, []
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        h, kept = σ.keep(linear(h, weight, bias))
        passed.append((weight, h, kept))
    value, g = _top(h, w, *parameters[-2:])
    for weight, h, kept in reversed(passed):
        g = σ.pull(g, h, kept) @ weight
    return value, g


def _forward(
    σ: Activation, order: int, x: Tensor, w: Tensor | None, parameters: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tape]:
    """Value, gradient and the tape."""
    weights, biases = parameters[::2], parameters[1::2]
    m, k = len(weights) - 1, weights[0].shape[-2]
    z, h, g, u = x.new_empty(4, m, *x.shape[:-1], k).unbind()
    below = x
    for weight, bias, z_l, h_l in zip(weights[:-1], biases[:-1], z.unbind(), h.unbind(), strict=True):
        _affine(below, weight, bias, z_l)
        below = σ.into(z_l, out=h_l)
    d = σ.derivatives(z, h, order)
    value, g[-1] = _top(below, w, *parameters[-2:])
    g_, u_, first = g.unbind(), u.unbind(), d[0].unbind()
    for i in reversed(range(1, m)):
        torch.matmul(torch.mul(g_[i], first[i], out=u_[i]), weights[i], out=g_[i - 1])
    gradient = torch.mul(g_[0], first[0], out=u_[0]) @ weights[0]
    return value, gradient, Tape(h=h, d=d, g=g, u=u)


def _tangents(v: Tensor, tape: Tape, weights: Sequence[Tensor], total: bool) -> tuple[Tensor, Tape]:
    """Curvatures ``(N, T)`` or ``(N, 1)``, and the tape with the tangents."""
    m, points = len(tape.h), tape.h.shape[1:-1]
    t = [_times(v, weights[0].mT)]
    q = tape.h.new_empty(m, *points, 1 if total else v.shape[-2], tape.h.shape[-1])
    first = tape.d[0].unsqueeze(-2).unbind()
    for i, q_l in enumerate(q.unbind()):
        if total:
            q_l.copy_(t[i].square().sum(-2, keepdim=True))
        else:
            q_l.copy_(t[i]).square_()
        if i < m - 1:
            t.append(_times(first[i] * t[i], weights[i + 1].mT))
    bend = tape.g * tape.d[1]
    if q.shape[-2] == 1:
        curvature = (bend * q.squeeze(-2)).sum((0, -1)).unsqueeze(-1)
    else:
        curvature = (bend.unsqueeze(-2) * q).sum((0, -1))
    return curvature, replace(tape, t=t, q=q)


class _Derive(torch.autograd.Function):
    """``derive`` where a gradient is wanted: one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any,
        σ: Activation,
        total: bool,
        x: Tensor,
        v: Tensor | None,
        w: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        value, gradient, tape = _forward(σ, 2 if v is None else 3, x, w, parameters)
        out: tuple[Tensor, ...] = (value, gradient)
        if v is not None:
            curvature, tape = _tangents(v, tape, parameters[::2], total)
            out = (*out, curvature.squeeze(-1) if total else curvature)
        ctx.fixed, ctx.tape = (σ, total), tape
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, v, w, *parameters)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, (σ, total) = ctx.saved_tensors, ctx.fixed
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            return None, None, *_again(σ, total, inputs, grads)
        x, v, w, *parameters = inputs
        of_value, of_gradient, of_curvature = (*grads, None)[:3]
        if of_curvature is not None and total:
            of_curvature = of_curvature.unsqueeze(-1)
        need_x, need_v = ctx.needs_input_grad[2:4]
        back = _Backward(ctx.tape, x, v, w, parameters[::2])
        of_v = back.along_t(of_curvature, need_v)
        back.along_g(of_gradient)
        of_x, of_biases = back.along_h(of_value, need_x)
        of_parameters = [t for pair in zip(back.of_weights, of_biases, strict=True) for t in pair]
        return None, None, of_x, of_v, None, *of_parameters


class _Backward:
    """The gradient in x, v and the parameters: back along t, then g, then h."""

    def __init__(
        self, tape: Tape, x: Tensor, v: Tensor | None, w: Tensor | None, weights: Sequence[Tensor]
    ) -> None:
        self.tape, self.x, self.v, self.w, self.weights = tape, x, v, w, weights
        self.of_weights: list[Tensor | None] = [None] * len(weights)
        self.of_z: Tensor | None = None
        self.of_g: Tensor | None = None

    def _weigh(self, layer: int, out: Tensor, into: Tensor) -> None:
        """Adds out' into to the gradient of a layer's weight."""
        sofar = self.of_weights[layer]
        if sofar is None:
            self.of_weights[layer] = out.mT @ into
        else:
            self.of_weights[layer] = (sofar.addmm_ if sofar.dim() == 2 else sofar.baddbmm_)(out.mT, into)

    def along_t(self, of_curvature: Tensor | None, need_v: bool) -> Tensor | None:
        """Back through the tangents; the gradient in v where it is wanted."""
        (first, second, *third), tape, v = self.tape.d, self.tape, self.v
        if of_curvature is None or tape.q is None or v is None:
            return None
        each = of_curvature.unsqueeze(-1)
        q = _over_t(each * tape.q)
        self.of_g, self.of_z = second * q, (tape.g * q).mul_(third[0])
        bends = ((tape.g * second).unsqueeze(-2) * (2 * each)).unbind()
        first_, second_, of_z = first.unsqueeze(-2).unbind(), second.unbind(), self.of_z.unbind()
        above: Tensor | None = None  # the gradient in σ'(z) ∘ t
        for i in reversed(range(len(bends))):
            back = bends[i] * tape.t[i]
            if above is not None:
                back.addcmul_(first_[i], above)
                of_z[i].addcmul_(second_[i], _over_t(above.mul_(tape.t[i])))
            below = first_[i - 1] * tape.t[i - 1] if i else v
            if back.shape[-3] != below.shape[-3]:  # v is the same at every point
                back = back.sum(-3, keepdim=True)
            self._weigh(i, back.flatten(-3, -2), below.flatten(-3, -2))
            above = _times(back, self.weights[i]) if i or need_v else None
        return above

    def along_g(self, back: Tensor | None) -> None:
        """Up through the gradient."""
        (first, second, *_), tape, of_g = self.tape.d, self.tape, self.of_g
        if back is not None:
            of_u = torch.empty_like(tape.u)
            rows = zip(tape.u.unbind(), of_u.unbind(), first.unbind(), strict=True)
            for i, (u, out, first_l) in enumerate(rows):
                self._weigh(i, u, back)
                torch.matmul(back, self.weights[i].mT, out=out)
                back = out * first_l if of_g is None else of_g[i].addcmul_(out, first_l)
            more = of_u.mul_(tape.g)
            self.of_z = more.mul_(second) if self.of_z is None else self.of_z.addcmul_(more, second)
        elif of_g is not None:
            back = of_g[-1]
        if back is not None:
            if self.w is None:
                self.of_weights[-1] = back.sum(-2, keepdim=True).expand_as(self.weights[-1]).contiguous()
            else:
                self._weigh(-1, self.w, back)

    def along_h(self, of_value: Tensor | None, need_x: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """Down through the forward pass; the gradients in x and in the biases."""
        first, h, back = self.tape.d[0].unbind(), self.tape.h.unbind(), None
        of_z = torch.zeros_like(self.tape.h) if self.of_z is None else self.of_z
        rows, of_bias = of_z.unbind(), None
        if of_value is not None:
            of_out = of_value.unsqueeze(-1).expand(*of_value.shape, self.weights[-1].shape[-2])
            of_out = of_out if self.w is None else of_out * self.w
            self._weigh(-1, of_out, h[-1])
            of_bias = of_out.sum(-2)
            back = of_out @ self.weights[-1]
        for i in reversed(range(len(h))):
            if back is not None:
                rows[i].addcmul_(back, first[i])
            self._weigh(i, rows[i], h[i - 1] if i else self.x)
            back = rows[i] @ self.weights[i] if i or need_x else None
        return back, [*of_z.sum(-2).unbind(), of_bias]


def _again(
    σ: Activation, total: bool, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradient of the outputs as part of a graph, by automatic differentiation throughout."""
    x, v, w, *parameters = inputs
    y = x if x.requires_grad else x.detach().requires_grad_()
    h = y
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        h = σ.value(linear(h, weight, bias))
    value, _ = _top(h, w, *parameters[-2:])
    (gradient,) = torch.autograd.grad(value.sum(), y, create_graph=True)
    outputs = [value, gradient]
    if v is not None:
        v = v.expand(*x.shape[:-1], *v.shape[-2:])
        along = [(gradient * u).sum() for u in v.unbind(-2)]
        products = [torch.autograd.grad(a, y, create_graph=True)[0] for a in along]
        curvature = (torch.stack(products, -2) * v).sum(-1)
        outputs.append(curvature.sum(-1) if total else curvature)
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
    wanted = [i for i, t in enumerate(inputs) if t is not None and t.requires_grad]
    found = torch.autograd.grad(
        [o for o, _ in pairs],
        [inputs[i] for i in wanted],
        [g for _, g in pairs],
        create_graph=True,
        allow_unused=True,
    )
    placed = dict(zip(wanted, found, strict=True))
    return [placed.get(i) for i in range(len(inputs))]
