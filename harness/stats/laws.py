"""Which law a cost follows in the dimension: named only where the sizes tell the candidates apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy import stats

from ebmark.stats.intervals import ALPHA, Array
from ebmark.stats.scaling import Exponent, line, per_size, scaling_exponent

MIN_LAW_SIZES = 10  # below: an offset law passes for an exponential one, and no law is named
MARGIN = 2.0  # of AICc: a law within it of the best is not ruled out
REACH = 2.0  # a law says nothing beyond this multiple of the largest d, or below the smallest over it
PARAMETERS = {"constant": 2, "power": 3, "exponential": 3, "offset": 4}  # with the variance
FORMULAS = {"constant": "a", "power": "a d^c", "exponential": "a exp(c d)", "offset": "a + b d^c"}
EXACT = 1e-6  # residual sd of log cost below which a fit is perfect: rounding does not choose a law
C_GRID = np.linspace(0.05, 8, 160)  # growths c of the offset law that are tried


@dataclass(frozen=True, kw_only=True)
class Law:
    """A law of cost in d, or why none is named; ``exponent`` is the local one, always.

    Attributes:
        name: a key of ``FORMULAS``, None where no law is identified.
        exponent: the local exponent over all sizes.
        note: why no law is named; empty otherwise.
        aicc: AICc of each candidate, empty below 10 sizes.
        a, b, c: of the formula, NaN where it has none.
        lo, hi: the interval of c: Student's t, of the offset law by its profile likelihood.
        dims: smallest and largest d.
    """

    name: str | None
    exponent: Exponent
    note: str = ""
    aicc: Mapping[str, float] = field(default_factory=dict)
    a: float = float("nan")
    b: float = float("nan")
    c: float = float("nan")
    lo: float = float("nan")
    hi: float = float("nan")
    dims: tuple[float, float] = (float("nan"), float("nan"))

    def at(self, d: Array) -> Array:
        """The cost at d ``(...)``; NaN without a law, and beyond half or twice the measured range."""
        d = np.asarray(d, dtype=float)
        inside = (d >= self.dims[0] / REACH) & (d <= self.dims[1] * REACH)
        d = np.where(inside, d, np.nan)
        if self.name == "constant":
            return np.where(inside, self.a, np.nan)
        if self.name == "exponential":
            return np.asarray(self.a * np.exp(self.c * d))
        if self.name is None:
            return np.full(d.shape, np.nan)
        return np.asarray(self.a * d**self.c if self.name == "power" else self.a + self.b * d**self.c)


def law(d: Array, cost: Array) -> Law:
    """The law that cost ``(n,)`` follows in the dimension d ``(n,)``, on the per-d means of log cost.

    Candidates are constant, power, exponential and a + b d^c: without the last, an overhead beside a power
    law passes for exponential growth. The smallest AICc is named from 10 sizes on, and only if every other
    candidate is at least 2 behind; exponential growth only if a + b d^c is so before its extra parameter is
    charged, because having fewer parameters is no evidence for it. A named law is the best of the four, not
    proved. Costs that are not positive and finite are left out: where runs failed at the larger sizes, only
    ``tobit_exponent`` is fair.

    Reference: Burnham and Anderson, Model selection and multimodel inference, 2002.
    """
    exponent = scaling_exponent(d, cost)
    sizes, mean = per_size(d, cost)
    n = len(sizes)
    if n < MIN_LAW_SIZES:
        return Law(
            name=None,
            exponent=exponent,
            note=f"law not identified: {n} {'size' if n == 1 else 'sizes'}, {MIN_LAW_SIZES} needed",
        )
    fits = {
        "constant": _constant(mean),
        "power": _straight(np.log(sizes), mean),
        "exponential": _straight(sizes, mean),
        "offset": _offset(sizes, mean),
    }
    aicc = {name: _aicc(fit.rss, n, PARAMETERS[name]) for name, fit in fits.items()}
    first = min(aicc, key=aicc.__getitem__)
    rivals = {name: value for name, value in aicc.items() if name != first}
    if first == "exponential":
        rivals["offset"] = _aicc(fits["offset"].rss, n, PARAMETERS["exponential"])
    second = min(rivals, key=rivals.__getitem__)
    if rivals[second] - aicc[first] < MARGIN:
        note = f"law not identified: {first} and {second} fit alike"
        return Law(name=None, exponent=exponent, note=note, aicc=aicc)
    fit, dims = fits[first], (float(sizes[0]), float(sizes[-1]))
    return Law(
        name=first, exponent=exponent, aicc=aicc, a=fit.a, b=fit.b, c=fit.c, lo=fit.lo, hi=fit.hi, dims=dims
    )


def _aicc(rss: float, n: int, k: int) -> float:
    """Akaike's criterion of a least-squares fit, corrected for few points."""
    return float(n * np.log(max(rss / n, EXACT**2)) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


class _Fit(NamedTuple):
    """Residual sum of squares in log cost, and the fields of ``Law``."""

    rss: float
    a: float
    b: float = float("nan")
    c: float = float("nan")
    lo: float = float("nan")
    hi: float = float("nan")


def _constant(y: Array) -> _Fit:
    return _Fit(rss=float(((y - y.mean()) ** 2).sum()), a=float(np.exp(y.mean())))


def _straight(x: Array, y: Array) -> _Fit:
    """Of a law whose logarithm is a line in x, with the slope's t interval."""
    level, c, _, se = line(x, y)
    rss = float(((y - level - c * (x - x.mean())) ** 2).sum())
    half = float(stats.t.ppf(1 - ALPHA / 2, len(x) - 2)) * se
    return _Fit(rss=rss, a=float(np.exp(level - c * x.mean())), c=c, lo=c - half, hi=c + half)


def _offset(d: Array, y: Array) -> _Fit:
    """Of the law a + b d^c, with the profile interval of c: lo is 0 or hi infinite where c is not bounded."""
    n, u = len(d), np.log(d) - np.log(d).mean()
    profile, _ = _profile(C_GRID, u, y)
    step, best = C_GRID[1] - C_GRID[0], float(C_GRID[profile.argmin()])
    fine = np.maximum(best + np.linspace(-step, step, 41), C_GRID[0] / 2)
    rss, shares = _profile(fine, u, y)
    at = int(rss.argmin())
    c, rho, least = float(fine[at]), float(shares[at]), float(rss[at])
    level = y.mean() - np.logaddexp(0, rho + c * u).mean()
    # exp(level) (1 + exp(rho) (d/g)^c), g the geometric mean of the sizes
    a, b = np.exp(level), np.exp(level + rho - c * np.log(d).mean())
    # F test of one parameter against the full fit
    bound = least * (1 + stats.f.ppf(1 - ALPHA, 1, n - 3) / (n - 3))
    allowed = np.flatnonzero(profile <= bound)
    lo = _edge(profile, bound, allowed[0], -1) if len(allowed) else c
    hi = _edge(profile, bound, allowed[-1], 1) if len(allowed) else c
    return _Fit(rss=least, a=float(a), b=float(b), c=c, lo=min(lo, c), hi=max(hi, c))


def _edge(profile: Array, bound: float, i: int, way: int) -> float:
    """Where the profile crosses the bound beyond the grid's i-th c; 0 or infinite at the grid's ends."""
    if not 0 <= i + way < len(profile):
        return 0.0 if way < 0 else float("inf")
    share = (bound - profile[i]) / (profile[i + way] - profile[i])
    return float(C_GRID[i] + share * (C_GRID[i + way] - C_GRID[i]))


def _profile(c: Array, u: Array, y: Array) -> tuple[Array, Array]:
    """Residual squares of level + log(1 + exp(rho + c u)) at the best rho, and that rho, each ``(C,)``.

    The sum has more than one valley in rho; a grid over all of them is refined, which no start can miss.
    """
    reach = 8 + c * np.abs(u).max()
    rho, width = np.zeros_like(c), reach
    for points, zoom in ((65, 0.04), (17, 0.15), (17, 0.15), (17, 0.15)):
        tried = rho[:, None] + width[:, None] * np.linspace(-1, 1, points)
        residual = y - np.logaddexp(0, tried[..., None] + c[:, None, None] * u)
        rss = residual.var(-1) * len(u)
        rho = np.take_along_axis(tried, rss.argmin(-1)[:, None], -1)[:, 0]
        width = width * zoom
    return rss.min(-1), rho
