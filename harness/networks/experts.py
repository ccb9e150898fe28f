"""A product of experts on linear projections: for independent components, mixed or not."""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebmark.api import Rng, network
from ebmark.derivatives import Along, Derived, derive, derive_layers
from ebmark.errors import SpecError
from ebmark.layers import Linear, linear
from ebmark.modules import ACTIVATIONS, GaussianBase, Layered

SHAPES = ("logistic", "free")
LOGISTIC_SD = math.pi / math.sqrt(3)


class LogisticShape(nn.Module):
    """Σ_i s_i + 2 log(1 + e^-s_i), the energy of independent logistic variables s ``(..., K)``; Z is 1."""

    def forward(self, s: Tensor) -> Tensor:
        """S ``(..., K)`` -> its energy ``(...)``."""
        return (softplus(s) + softplus(-s)).sum(-1)

    def derive(self, s: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """Each expert's f' = tanh(s/2) and f'' = (1 - f'²)/2."""
        gradient = torch.tanh(0.5 * s)
        return Derived(self.forward(s), gradient, _separable(0.5 * (1 - gradient.square()), along))


class FreeShape(nn.Module):
    """Σ_i g_i(s_i) of s ``(..., K)``, each g_i a small perceptron of its own.

    The perceptrons lie side by side: their weights have a leading dimension K.
    """

    def __init__(self, g: nn.Sequential) -> None:
        super().__init__()
        self.g = g

    def forward(self, s: Tensor) -> Tensor:
        """S ``(..., K)`` -> the sum of the perceptrons ``(...)``."""
        E: Tensor = self.g(self._apart(s))
        return E.squeeze(-1).sum(self._place)

    def derive(self, s: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """Each perceptron's own; for g_i'' one tangent is enough, whatever the directions."""
        g = derive_layers(self.g, self._apart(s), Along() if along else None, None)
        second = None if g.curvature is None else g.curvature.movedim(self._place, -1)
        return g._replace(
            value=g.value.sum(self._place),
            gradient=g.gradient.squeeze(-1).movedim(self._place, -1),
            curvature=_separable(second, along),
        )

    @property
    def _place(self) -> int:
        """Where the experts are among the leading dimensions: behind that of runs side by side."""
        return cast(Linear, self.g[0]).weight.dim() - 3

    def _apart(self, s: Tensor) -> Tensor:
        """One expert after the other ``(K, ..., 1)``."""
        return s.movedim(-1, self._place).unsqueeze(-1)


def _separable(second: Tensor | None, along: Along | None) -> Tensor | None:
    """Curvatures along v of Σ_i f_i(s_i), from f_i'' ``(..., K)``."""
    if second is None or along is None:
        return None
    square = along.directions(second).square()
    if along.total:
        return (second * square.sum(-2)).sum(-1)
    return (second.unsqueeze(-2) * square).sum(-1)


class Product(nn.Module):
    """E(x) = f(Wx + b) = Σ_i f_i(w_i'x + b_i) with W ``(K, d)``; x ``(..., d)``."""

    def __init__(self, W: Tensor, b: Tensor, f: nn.Module) -> None:
        super().__init__()
        self.W = nn.Parameter(W)
        self.b = nn.Parameter(b)
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        E: Tensor = self.f(linear(x, self.W, self.b))
        return E

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """∇E = W'∇f, and f's curvatures along Wv; those along the unit vectors are W's columns."""
        inside = None
        if along is not None and along.v is None:
            columns = self.W.mT
            lead = columns.shape[:-2]
            if lead:  # runs side by side: the same directions at each of a run's points
                columns = columns.reshape(*lead, *[1] * (x.dim() - 2), *columns.shape[-2:])
            inside = Along(v=columns, total=along.total)
        elif along is not None and along.v is not None:
            inside = Along(v=linear(along.v, self.W), total=along.total)
        f = derive(self.f, linear(x, self.W, self.b), inside, w)
        pushed = 0 if along is None or along.v is None else along.v.shape[-2]
        return f._replace(gradient=linear(f.gradient, self.W.mT), tangents=f.tangents or pushed)


class SquareLogisticProduct(Product):
    """As many logistic experts as dimensions: the density of an independent component analysis."""

    def log_z(self) -> Tensor:
        """Log Z = -log |det W| ``()``."""
        log_det: Tensor = torch.linalg.slogdet(self.W).logabsdet
        return -log_det


@network("experts")
class Experts(Layered):
    """Σ_i f_i(w_i'x + b_i): with as many experts as dimensions the energy of independent components.

    W starts orthogonal (its columns, where there are more experts than dimensions), at the data's scale. The
    base of free experts is Gaussian in w_i'x + b_i, so that the energy stays a sum over experts.

    Attributes:
        experts: their number, at least the data's dimension; without one it is the dimension.
        shape: logistic, f(s) = s + 2 log(1 + e^-s), whose Z is known where ``experts`` is left out; or free,
            for each expert a perceptron and a Gaussian base term.
        width: units in a hidden layer of a free expert.
        depth: its hidden layers.
        activation: silu, softplus, tanh or relu; with relu a free expert has no second derivatives.
        gain: scale of its initial weights.
    """

    base = True
    experts: int | None = None
    shape: str = "logistic"
    width: int = 32
    depth: int = 2
    activation: str = "silu"
    gain: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.experts is not None and self.experts < 1:
            raise SpecError(f"experts.experts: {self.experts} given; allowed: at least 1")
        if self.shape not in SHAPES:
            raise SpecError(f"experts.shape: {self.shape!r} given; allowed: {', '.join(SHAPES)}")

    @property
    def smooth(self) -> bool:  # type: ignore[override]  # follows the settings here
        """Whether the experts have a second derivative."""
        return self.shape == "logistic" or super().smooth

    @property
    def known_z(self) -> bool:  # type: ignore[override]  # follows the settings here
        """Whether Z is known: with as many logistic experts as dimensions."""
        return self.shape == "logistic" and self.experts is None

    def skip(self, d: int) -> str | None:
        """With fewer experts than dimensions the energy would be constant along some direction."""
        if self.experts is None or self.experts >= d:
            return None
        return f"experts.experts: {self.experts} given; allowed: at least the data's dimension, {d}"

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """The energy for data like ``data (n, d)``.

        Raises:
            SpecError: there are fewer experts than coordinates.
        """
        d = data.shape[-1]
        K = d if self.experts is None else self.experts
        if reason := self.skip(d):
            raise SpecError(reason)
        Q, R = torch.linalg.qr(rng.normal((K, d)))
        Q = Q * R.diagonal().sign()  # QR leaves the columns' signs open; this choice makes Q uniform
        sd = data.var(0).mean().sqrt()
        if self.shape == "logistic":
            W = Q * (LOGISTIC_SD * math.sqrt(K / d) / sd)
            made = SquareLogisticProduct if d == K else Product
            return made(W, -W @ data.mean(0), LogisticShape())
        W = Q * (math.sqrt(K / d) / sd)
        b = -W @ data.mean(0)
        return Product(W, b, GaussianBase(FreeShape(self._perceptrons(K, data, rng)), data @ W.mT + b))

    def _perceptrons(self, K: int, data: Tensor, rng: Rng) -> nn.Sequential:
        """The perceptrons of K experts side by side, initialised as ``ebmark.modules.perceptron``."""
        sizes = [1, *[self.width] * self.depth, 1]
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            last = i == self.depth
            scale = (1 if last else self.gain) / math.sqrt(fan_in)
            weight = (rng.normal((K, fan_out, fan_in)) * scale).to(data)
            bias = ((2 * rng.uniform((K, fan_out)) - 1) / math.sqrt(fan_in)).to(data)
            layer = Linear(fan_in, fan_out, device="meta")
            layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
            layers += [layer] if last else [layer, ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers)
