"""What the checks share: rows of a table, laws as quadratures, estimators taken from a method's own loss.

Nothing here repeats a method's equation. A population value is a weighted sum of the method's loss over the
nodes of a quadrature, one node per leading index; whatever the method draws comes from a scripted stream that
hands it nodes instead of random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Method, Rng, State

HERE = 4.0  # standard errors within which a simulated value is the expected one


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number against theory.

    Attributes:
        what: the quantity and where it is taken.
        expected: the value that theory gives, or the bound.
        found: the value of the project's code.
        se: standard error of ``found``; 0 where nothing is random.
        within: absolute deviation that is allowed beside four standard errors.
        bound: ``expected`` is an upper bound, not a value.
        share: the allowed deviation as a share of ``expected``, instead of the two above.
    """

    what: str
    expected: float
    found: float
    se: float = 0.0
    within: float = 0.0
    bound: bool = False
    share: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the number is what theory says; never for one that is not finite."""
        gap = self.found - self.expected
        if self.share is not None:
            return abs(gap) <= self.share * abs(self.expected)
        return (gap if self.bound else abs(gap)) <= HERE * self.se + self.within

    @property
    def deviation(self) -> str:
        """Standard errors where there are some, otherwise the relative or, near 0, the absolute error."""
        gap = self.found - self.expected
        if self.se > 0:
            return f"z {gap / self.se:+.1f}"
        scale = abs(self.expected)
        return f"rel {gap / scale:+.1e}" if scale > 1e-9 else f"abs {gap:+.1e}"


Rows = Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Item:
    """A statement of theory and the function that measures it."""

    what: str
    rows: Rows
    slow: bool


ITEMS: list[Item] = []


def item(what: str, *, slow: bool = False) -> Callable[[Rows], Rows]:
    """Adds a function to the list; the slow ones run in the benchmark alone."""

    def add(rows: Rows) -> Rows:
        ITEMS.append(Item(what, rows, slow))
        return rows

    return add


def digits(what: str, expected: str, found: float) -> Row:
    """A row that must agree in every printed digit."""
    mantissa, _, exponent = expected.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return Row(what=what, expected=float(expected), found=found, within=0.501 * last)


def simulated_row(what: str, expected: float, found: float, se: float) -> Row:
    """A simulated variance: within ten per cent, the asymptotic value being that of infinitely many data."""
    return Row(what=what, expected=expected, found=found, se=se, share=0.1)


def stream(*key: object) -> Rng:
    """A named stream of float64 numbers."""
    return Rng.of("theory", *key, dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- quadrature


@dataclass(frozen=True)
class Law:
    """A distribution as points ``(N, d)`` with weights ``(N,)``."""

    nodes: Tensor
    weights: Tensor

    def mean(self, f: Tensor) -> Tensor:
        """The mean of values ``(N, ...)`` at the nodes."""
        return torch.tensordot(self.weights, f, dims=1)


def on_line(log_prob: Callable[[Tensor], Tensor], half: float, step: float = 0.04) -> Law:
    """The law of a density on the line, by the trapezoidal rule on ±half; log_prob takes ``(N, 1)``."""
    n = 2 * round(half / step) + 1
    x = torch.linspace(-half, half, n, dtype=torch.float64)[:, None]
    return Law(x, log_prob(x).exp() * (2 * half / (n - 1)))


def normal(step: float = 0.04, half: float = 9.0) -> Law:
    """N(0, 1), accurate to 1e-15 for smooth functions."""
    return on_line(lambda x: -0.5 * x.squeeze(-1).square() - 0.5 * math.log(2 * math.pi), half, step)


def polynomial(tril: Tensor, n: int = 5) -> Law:
    """N(0, tril tril') for polynomials up to degree 2n - 1, by Gauss and Hermite's rule in each dimension."""
    from numpy.polynomial.hermite_e import hermegauss

    d = len(tril)
    z, w = (torch.as_tensor(a) for a in hermegauss(n))
    grid = torch.cartesian_prod(*[z] * d).reshape(-1, d)
    weights = torch.cartesian_prod(*[w / w.sum()] * d).reshape(-1, d).prod(-1)
    return Law(grid @ tril.mT, weights)


class Scripted(Rng):
    """A stream that hands out given numbers, in order, whatever kind of number is asked for.

    A column ``(N,)`` gives every draw of run i its i-th number.
    """

    def __init__(self, *draws: Tensor) -> None:
        super().__init__(0, dtype=torch.float64)
        self.draws = list(draws)

    def _draw(self, shape: Sequence[int], draw: object) -> Tensor:
        given = self.draws.pop(0)
        return (
            given
            if given.dim() > 1
            else given.reshape(-1, *[1] * (len(shape) - 1)).expand(*shape).contiguous()
        )


# ----------------------------------------------------------------------------------------------- estimators

Problem = Callable[[int], tuple[nn.Module, State]]  # the energy and the state of N runs, at the truth


def parameters(module: nn.Module, state: State) -> list[Tensor]:
    """What the energy's loss moves, each (N,) or (N, 1): the network's parameters, then learned constants."""
    own = state.params.get("energy")
    return [*module.parameters(), *(own.parameters() if own is not None else ())]


def derivatives(
    method: Method, module: nn.Module, state: State, x: Tensor, rng: Rng, *, second: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss ``(N,)`` of ``x (N, n, d)``, gradient ``(N, p)``, Hessian ``(N, p, p)`` (NaN if not asked)."""
    θ = parameters(module, state)
    loss = method.step(Energy(module), x, state, rng).losses["energy"]
    g = torch.autograd.grad(loss.sum(), θ, create_graph=second)
    n = len(x)
    G = torch.stack([gi.reshape(n) for gi in g], -1)
    if not second:
        return loss.detach(), G.detach(), torch.full((n, len(θ), len(θ)), math.nan)
    rows = [torch.autograd.grad(gi.sum(), θ, retain_graph=True, materialize_grads=True) for gi in g]
    H = torch.stack([torch.stack([h.reshape(n) for h in row], -1) for row in rows], -2)
    return loss.detach(), G.detach(), H.detach()


def _at_nodes(
    method: Method, problem: Problem, x: Tensor, draws: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One datum ``x (N, d)`` per run; the columns of ``draws (N, c)`` are what the method draws, in order."""
    module, state = problem(len(x))
    script = Scripted(*(draws.unbind(-1) if draws is not None else ()))
    return derivatives(method, module, state, x[:, None, :], script)


@dataclass(frozen=True)
class Population:
    """The method's loss, gradient ``(p,)``, Hessian ``(p, p)`` and gradient covariance per datum."""

    loss: float
    gradient: Tensor
    hessian: Tensor
    covariance: Tensor

    @property
    def variances(self) -> list[float]:
        """n times the asymptotic variance of each parameter: the sandwich H⁻¹ C H⁻¹."""
        inverse = torch.linalg.inv(self.hessian)
        return (inverse @ self.covariance @ inverse.mT).diagonal().tolist()


def _moments(law: Law, loss: Tensor, G: Tensor, H: Tensor) -> Population:
    mean = law.mean(G)
    covariance = torch.einsum("n,ni,nj->ij", law.weights, G - mean, G - mean)
    return Population(law.mean(loss).item(), mean, law.mean(H), covariance)


def averaged(method: Method, problem: Problem, data: Law, draw: Law) -> Population:
    """Of a loss with one draw per datum, its mean over the draws: the law of the datum alone."""
    draws, n = draw.nodes, len(draw.nodes)
    parts = []
    for x in data.nodes.split(max(1, 100_000 // n)):
        each = _at_nodes(method, problem, x.repeat_interleave(n, 0), draws.repeat(len(x), 1))
        parts.append([torch.tensordot(t.unflatten(0, (len(x), n)), draw.weights, ([1], [0])) for t in each])
    return _moments(data, *(torch.cat(column) for column in zip(*parts, strict=True)))


def population(method: Method, problem: Problem, data: Law, draw: Law | None = None) -> Population:
    """Of a loss with at most one draw per datum: the law of (datum, draw) on the product of both grids."""
    if draw is None:
        return _moments(data, *_at_nodes(method, problem, data.nodes))
    i, j = torch.meshgrid(torch.arange(len(data.nodes)), torch.arange(len(draw.nodes)), indexing="ij")
    i, j = i.flatten(), j.flatten()
    law = Law(data.nodes[i], data.weights[i] * draw.weights[j])
    return _moments(law, *_at_nodes(method, problem, law.nodes, draw.nodes[j]))


def additive(method: Method, problem: Problem, data: Law, draw: Law, noise_points: int) -> Population:
    """Of a loss that is a sum over a datum and ν noise points, a(x) + Σ b(y_j), without assuming a or b.

    Varying x alone gives a's moments. Varying the ν noise points together gives those of ν b, whose
    covariance is ν times that of Σ b over independent points.
    """
    x0, z0 = (law.nodes[law.weights.argmax()][None] for law in (data, draw))
    a = _moments(data, *_at_nodes(method, problem, data.nodes, z0.expand(len(data.nodes), -1)))
    b = _moments(draw, *_at_nodes(method, problem, x0.expand(len(draw.nodes), -1), draw.nodes))
    loss, G, H = _at_nodes(method, problem, x0, z0)
    return Population(
        a.loss + b.loss - loss.item(),
        a.gradient + b.gradient - G[0],
        a.hessian + b.hessian - H[0],
        a.covariance + b.covariance / noise_points,
    )


def estimates(method: Method, problem: Problem, x: Tensor, *key: object, at_once: int = 2_000_000) -> Tensor:
    """The minimiser ``(R, p)`` of the loss of each of R data sets ``x (R, n, d)``, by Newton's method.

    The draws are fixed within a data set: the method's stream starts anew at every step. Not more than
    ``at_once`` data points are in memory together.
    """
    parts = x.split(max(1, at_once // x.shape[1]))
    return torch.cat([_newton(method, problem, part, *key, i) for i, part in enumerate(parts)])


def _newton(method: Method, problem: Problem, x: Tensor, *key: object, steps: int = 60) -> Tensor:
    module, state = problem(len(x))
    θ = parameters(module, state)
    for _ in range(steps):
        _, G, H = derivatives(method, module, state, x, stream(*key))
        move = torch.linalg.solve(H, G)
        move = move * (1 / move.norm(dim=-1, keepdim=True)).clamp(max=1)  # no step longer than 1
        with torch.no_grad():
            for p, m in zip(θ, move.unbind(-1), strict=True):
                p -= m.reshape(p.shape)
        if move.abs().max() < 1e-7:  # the next one would be of the order of its square
            return torch.stack([p.detach().reshape(-1) for p in θ], -1)
    raise RuntimeError(f"{method!r}: Newton's method has not converged after {steps} steps")


def spread(found: Tensor, n: int) -> list[tuple[float, float]]:
    """n times the variance of each column of estimates ``(R, p)``, and its error from the fourth moment."""
    squares = (found - found.mean(0)).square() * n
    se = squares.std(0) / math.sqrt(len(found))
    return list(zip(squares.mean(0).tolist(), se.tolist(), strict=True))
