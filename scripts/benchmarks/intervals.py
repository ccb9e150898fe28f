"""What the statistics cover in simulations, against what they say (10 minutes on one core).

Each row is a truth planted in simulated tables: the share of 95 % intervals that hold it, with its own
interval from the number of tables, and what is allowed. A row passes if its interval meets the allowed range;
the exit code is 1 if one misses.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from ebmark import stats

Array = NDArray[np.float64]
NOMINAL = (0.93, 0.97)
AT_LEAST = (0.93, 1.0)  # of intervals that are discrete or conservative by design
SIX = 2.0 ** np.arange(1, 7)
TWELVE = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128.0])
B = 1.1


@dataclass(frozen=True, kw_only=True)
class Row:
    """How often something happened in ``tables`` simulated tables, and the share allowed."""

    what: str
    hits: int
    tables: int
    allowed: tuple[float, float] = NOMINAL


def count(what: str, tables: int, once: Callable[[], bool], allowed: tuple[float, float] = NOMINAL) -> Row:
    """A row from a simulation of one table, repeated."""
    return Row(what=what, hits=sum(once() for _ in range(tables)), tables=tables, allowed=allowed)


def held(interval: stats.Interval, truth: float) -> int:
    """How many intervals hold the truth."""
    return int(((interval.lo <= truth) & (truth <= interval.hi)).sum())


def over_seeds(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Means over seeds, and the interquartile mean over tasks."""
    n = int(20_000 * share)
    for seeds in (3, 5, 10):
        found = stats.t_interval(rng.lognormal(0, 0.5, (n, seeds)), log=True)
        yield Row(what=f"t on the log scale, {seeds} seeds", hits=held(found, 1.0), tables=n)
    m = int(1000 * share)
    found = stats.seed_interval(rng.gamma(2, size=(m, 20)))
    skewed = "BCa, 20 seeds of a skewed quantity (gamma 2)"
    yield Row(what=skewed, hits=held(found, 2.0), tables=m, allowed=(0.9, 0.97))
    for tasks, seeds in ((10, 5), (10, 3), (20, 10)):
        mu = np.linspace(0, 3, tasks)[:, None]
        truth = float(stats.iqm((mu + rng.normal(0, 0.5, (tasks, 40_000))).reshape(-1)))

        def once(mu: Array = mu, seeds: int = seeds, truth: float = truth) -> bool:
            return held(stats.iqm_interval(mu + rng.normal(0, 0.5, (len(mu), seeds))), truth) == 1

        yield count(f"interquartile mean, {tasks} tasks x {seeds} seeds", m, once, (0.91, 0.97))


def scaling(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Exponents, laws and crossovers."""
    n = int(10_000 * share)

    def exponent() -> bool:
        fit = stats.scaling_exponent(SIX, SIX**B * np.exp(rng.normal(0, 0.15, 6)))
        return fit.lo <= B <= fit.hi

    yield count("exponent, 6 sizes, lack of fit 0.15", n, exponent)

    def seeded() -> bool:
        d = np.repeat(SIX, 5)
        y = np.repeat(rng.normal(0, 0.15, 6), 5) + rng.normal(0, 0.1, 30)
        fit = stats.scaling_exponent(d, d**B * np.exp(y))
        return fit.lo <= B <= fit.hi

    yield count("exponent, 6 sizes x 5 seeds, lack of fit 0.15", n, seeded)

    def crossing(d: Array) -> bool:
        a, b = np.exp(rng.normal(0, 0.1, (2, len(d))))
        found = stats.crossover(d, d**0.9 * a, 12**0.9 * b)
        return found is not None and found.lo <= 12 <= found.hi

    for d in (SIX, TWELVE):
        yield count(f"crossover dimension, {len(d)} sizes, lack of fit 0.1", n, lambda d=d: crossing(d))


def censored(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Exponents with 30 % of the runs cut off."""
    n = int(1000 * share)
    for d, seeds, lack, own, allowed in (
        (TWELVE[:10], 1, 0.15, 0.0, NOMINAL),
        (TWELVE, 1, 0.15, 0.0, NOMINAL),
        (2.0 ** np.arange(1, 9), 5, 0.15, 0.1, NOMINAL),
        (TWELVE, 3, 0.0, 0.15, AT_LEAST),
    ):

        def once(d: Array = d, seeds: int = seeds, lack: float = lack, own: float = own) -> bool:
            x = np.repeat(d, seeds)
            y = B * np.log(x) + np.repeat(rng.normal(0, lack, len(d)), seeds) + rng.normal(0, own, len(x))
            limit = np.quantile(B * np.log(x), 0.7) + 0.02
            fit = stats.tobit_exponent(x, np.exp(np.minimum(y, limit)), y > limit)
            return fit.lo <= B <= fit.hi

        what = f"exponent with 30 % cut off, {len(d)} sizes x {seeds}, lack of fit {lack}, runs {own}"
        yield count(what, n, once, allowed)


def laws(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Which law is named over twelve sizes, and its growth."""
    n = int(500 * share)
    truths: dict[str, Callable[[Array], Array]] = {
        "constant": lambda d: np.full(d.shape, 4.0),
        "power": lambda d: 3 * d**1.3,
        "exponential": lambda d: 2 * np.exp(0.05 * d),
        "offset": lambda d: 1 + 0.01 * d**1.3,
    }
    for noise in (0.02, 0.05, 0.1):
        for truth, cost in truths.items():
            found = [stats.law(TWELVE, cost(TWELVE) * np.exp(rng.normal(0, noise, 12))) for _ in range(n)]
            names = [one.name for one in found]
            what = f"{truth} over 12 sizes, noise {noise}"
            right = {"constant": 0.5, "offset": 0.5}.get(truth, 0.8)
            yield Row(what=f"{what}: named", hits=names.count(truth), tables=n, allowed=(right, 1))
            if truth != "exponential":
                false = names.count("exponential")
                most = 0.02 if truth == "offset" and noise > 0.05 else 0.0 if truth == "offset" else 0.05
                yield Row(what=f"{what}: called exponential", hits=false, tables=n, allowed=(0, most))
    six = [
        stats.law(SIX, cost(SIX) * np.exp(rng.normal(0, 0.05, 6)))
        for cost in truths.values()
        for _ in range(n)
    ]
    named = sum(one.name is not None for one in six)
    yield Row(what="any law over 6 sizes: named", hits=named, tables=len(six), allowed=(0, 0))


def targets(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Expected running times, failures charged."""
    n = int(20_000 * share)
    for p, seeds in ((0.75, 5), (0.75, 10), (0.9, 5), (0.9, 20), (1.0, 5)):
        reached = rng.random((n, seeds)) < p
        cost = np.where(reached, rng.lognormal(0, 0.3, (n, seeds)), 4.0)
        truth = float(np.exp(0.3**2 / 2) + 4 * (1 - p) / p)
        found = stats.ert_interval(cost, reached, np.full(n, 4.0))
        what = f"expected running time, {seeds} runs, {p:.0%} reach the target"
        yield Row(what=what, hits=held(found, truth), tables=n, allowed=AT_LEAST)


def comparisons(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """A against B, and the families of tests."""
    n = int(20_000 * share)
    for seeds in (6, 10):
        found = stats.paired(rng.normal(0.5, 1, (n, seeds)), np.zeros(seeds))
        below = float(scipy_stats.norm.cdf(-0.5))
        yield Row(what=f"P(A < B), {seeds} pairs", hits=held(found.below, below), tables=n, allowed=(0.95, 1))
    null = stats.paired(rng.normal(size=(n, 6, 8)), np.zeros(8)).p
    family = int(sum((stats.holm(row) < stats.ALPHA).any() for row in null))
    yield Row(what="6 equal pairs: any claimed different", hits=family, tables=n, allowed=(0, 0.05))
    m = int(1000 * share)

    def alike() -> bool:
        return bool(stats.friedman(rng.normal(size=(4, 10))).different.any())

    yield count("4 equal methods over 10 tasks: any told apart", m, alike, (0, 0.05))

    def best() -> bool:
        rank = stats.best_and_ties(rng.normal(size=(6, 5)) - 0.3 * np.eye(6, 1))
        return rank.best == 0 or bool(rank.ties[0])

    yield count("the best of 6 methods is marked best or tied", 4 * m, best, (0.95, 1))


def added(rng: np.random.Generator, rows: int, start: int, most: int, sd: float) -> Array:
    """Costs ``(rows, seeds)`` whose seeds are added in rounds until each is known within 10 %."""
    x, seeds, after = rng.lognormal(0, sd, (rows, most)), 0, start
    left = stats.looks(start, most)
    alpha = stats.ALPHA / left
    while after != seeds:
        seeds, left = after, left - 1
        after = stats.next_seeds(x[:, :seeds], 0.1, seeds=seeds, most=most, alpha=alpha, left=left, log=True)
    return x[:, :seeds]


def sequential(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """Seeds added in rounds until every interval is narrow, as `ebmark run --precision` does."""
    n, most = int(1000 * share), 30
    for start, sd, rows in ((3, 0.1, 1), (3, 0.3, 1), (5, 0.2, 1), (5, 0.2, 10)):
        alpha = stats.ALPHA / stats.looks(start, most)
        tables = [added(rng, rows, start, most, sd) for _ in range(n)]
        hits = sum(held(stats.t_interval(x, log=True, alpha=alpha), 1.0) for x in tables)
        mean = np.mean([x.shape[1] for x in tables])
        what = f"{rows} within 10 % from {start} seeds on, sd {sd}, {mean:.0f} seeds on average"
        yield Row(what=what, hits=hits, tables=n * rows, allowed=(0.95, 1))


PARTS = (over_seeds, scaling, censored, laws, targets, comparisons, sequential)


def show(row: Row) -> bool:
    """Prints a row; whether it passes."""
    ends = scipy_stats.binomtest(row.hits, row.tables).proportion_ci(0.95, "exact")
    low, high = row.allowed
    passed = bool(ends.high >= low and ends.low <= high)
    share = f"{row.hits / row.tables:7.2%}  [{ends.low:6.1%}, {ends.high:6.1%}]  of {row.tables:6}"
    verdict = "pass" if passed else "MISS"
    print(f"  {row.what:76} {share}  allowed {low:.0%}-{high:.0%}  {verdict}", flush=True)
    return passed


def main() -> int:
    """Prints every part; the exit code is 1 if a row misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only parts with this text in their name")
    parser.add_argument("--quick", action="store_true", help="a tenth of the tables")
    arguments = parser.parse_args()
    missed = 0
    for part in PARTS:
        if arguments.only in part.__name__:
            start = time.perf_counter()
            print(part.__doc__)
            rows = part(np.random.default_rng(0), 0.1 if arguments.quick else 1.0)
            missed += sum(not show(row) for row in rows)
            print(f"  {time.perf_counter() - start:.0f} s")
    print(f"{missed} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
