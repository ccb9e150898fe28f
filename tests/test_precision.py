"""Seeds by precision: what a width needs, and that looking several times keeps the coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ebmark.stats import ROUNDS, relative_precision, seeds_needed, t_interval


def test_the_count_is_the_smallest_that_is_narrow_enough():
    rng = np.random.default_rng(0)
    x = rng.normal(10, [[1.0], [2.0], [0.1]], (3, 5))
    for log, wanted in ((False, 0.08), (True, 0.08)):
        got = seeds_needed(x, wanted, log=log)
        for row, count in zip(x, got, strict=True):
            y = np.log(row) if log else row
            target = math.log(1 + wanted) if log else wanted * y.mean()

            def half(n, y=y):
                return stats.t.ppf(0.975, n - 1) * y.std(ddof=1) / math.sqrt(n)

            assert count >= 5
            assert half(count) <= target
            assert count == 5 or half(count - 1) > target


def test_precision_is_that_of_the_interval():
    x = np.array([1.0, 2, 4, np.nan])
    found = t_interval(x[:3], log=True)
    np.testing.assert_allclose(relative_precision(x, log=True), found.hi / 2 - 1)
    np.testing.assert_allclose(relative_precision(-x), (t_interval(x[:3]).hi - 7 / 3) / (7 / 3))


def test_a_narrower_look_needs_more():
    x = np.random.default_rng(1).normal(10, 1, 6)
    assert seeds_needed(x, 0.05, rounds=4) > seeds_needed(x, 0.05)
    assert relative_precision(x, rounds=4) > relative_precision(x)


def test_too_little_to_tell_and_too_much_to_run():
    x = np.array([[1.0, np.nan, np.nan], [1, 1, np.nan], [0.0, -1, 1]])
    np.testing.assert_array_equal(seeds_needed(x, 0.1), [np.nan, 3, np.inf])
    with pytest.raises(ValueError, match="precision 0 given; allowed: above 0"):
        seeds_needed(x, 0)


def test_seeds_added_in_rounds_keep_the_coverage():
    # 3 seeds, then three times as many as the spread seems to need. An interval looked at anew with 5 % each
    # time stops where it happens to be narrow, and covers less
    rng = np.random.default_rng(2)
    n, most, wanted = 4000, 60, 0.2
    x = rng.lognormal(0.0, 0.3, (n, most))

    def procedure(rounds):
        count = np.full(n, 3.0)
        for _ in range(ROUNDS - 1):
            seen = np.where(np.arange(most) < count[:, None], x, np.nan)
            count = np.minimum(seeds_needed(seen, wanted, log=True, rounds=rounds), most)
        seen = np.where(np.arange(most) < count[:, None], x, np.nan)
        found = t_interval(seen, log=True, alpha=0.05 / rounds)
        return float(((found.lo <= 1) & (found.hi >= 1)).mean()), count

    covered, count = procedure(ROUNDS)
    naive, _ = procedure(1)
    assert covered >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / n)
    assert naive < 0.95 - 4 * math.sqrt(0.95 * 0.05 / n)
    # more than what suffices where the spread is known, because three seeds know it badly
    z = stats.norm.ppf(1 - 0.025 / ROUNDS)
    assert 1 < count.mean() / (z * 0.3 / math.log(1.2)) ** 2 < 1.8
