"""The linear layer of the built-in networks: for one run, or for several side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W' + b ``(..., out)`` of x ``(..., in)`` with a weight W ``(out, in)``.

    With ``weight (*lead, out, in)``, ``bias (*lead, out)`` and x ``(*lead, ..., in)`` each of the leading
    indices has weights of its own.
    """
    if weight.dim() == 2:
        return nn.functional.linear(x, weight, bias)
    *lead, fan_out, fan_in = weight.shape
    weight = weight.reshape(-1, fan_out, fan_in)
    flat = x.reshape(len(weight), x.shape[len(lead) : -1].numel(), fan_in)
    rows = None if bias is None else bias.reshape(-1, 1, fan_out)
    y = flat @ weight.mT if rows is None else torch.baddbmm(rows, flat, weight.mT)
    return y.reshape(*x.shape[:-1], fan_out)


class Linear(nn.Linear):
    """x W' + b, also with leading dimensions of W and b (see ``linear``)."""

    def forward(self, x: Tensor) -> Tensor:
        """X ``(*lead, ..., in)`` -> ``(*lead, ..., out)``."""
        return linear(x, self.weight, self.bias)
