"""Energies of N runs side by side, with few parameters and a normaliser in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.networks.mixture_weights import TwoWeights


class Line(nn.Module):
    """E(x) = k x²/2 - b x on the line: N(b/k, 1/k) in its natural parameters b, k ``(N,)``."""

    def __init__(self, b: Tensor, k: Tensor, *, learn_b: bool = True) -> None:
        super().__init__()
        self.b = nn.Parameter(b.clone()) if learn_b else b
        self.k = nn.Parameter(k.clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(-1)
        return 0.5 * self.k[..., None] * x.square() - self.b[..., None] * x

    def log_z(self) -> Tensor:
        return 0.5 * self.b.square() / self.k + 0.5 * (2 * math.pi / self.k).log()


class Along(nn.Module):
    """E(x) = x'(I + tA)x/2 with one parameter t ``(N,)``, a line in the space of precisions."""

    def __init__(self, t: Tensor, A: Tensor) -> None:
        super().__init__()
        self.t = nn.Parameter(t.clone())
        self.A = A

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x.square().sum(-1) + self.t[..., None] * (x @ self.A * x).sum(-1))

    def log_z(self) -> Tensor:
        eigenvalues = 1 + self.t[..., None] * torch.linalg.eigvalsh(self.A)
        return 0.5 * (len(self.A) * math.log(2 * math.pi) - eigenvalues.log().sum(-1))


class Weight(nn.Module):
    """The two modes at ±m of variance ``variance``, with the logit of the left weight ``(N, 1)`` free."""

    def __init__(self, n: int, m: float, *, weight: float = 0.5, variance: float = 1.0) -> None:
        super().__init__()
        self.scale = math.sqrt(variance)
        logit = torch.full((n, 1), math.log(weight / (1 - weight)), dtype=torch.float64)
        self.two = TwoWeights(logit, m / self.scale, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        E: Tensor = self.two(x / self.scale)
        return E

    def log_z(self) -> Tensor:
        return self.two.log_z().squeeze(-1)


def ones(n: int, value: float = 1.0) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)
