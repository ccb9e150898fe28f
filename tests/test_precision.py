"""Seeds by precision: what a width needs, and that looking several times keeps the coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ebmark.stats import ALPHA, looks, next_seeds, relative_precision, seeds_needed, t_interval


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
    assert seeds_needed(x, 0.05, alpha=0.01) > seeds_needed(x, 0.05)
    assert relative_precision(x, alpha=0.01) > relative_precision(x)


def test_too_little_to_tell_and_too_much_to_run():
    x = np.array([[1.0, np.nan, np.nan], [1, 1, np.nan], [0.0, -1, 1]])
    np.testing.assert_array_equal(seeds_needed(x, 0.1), [np.nan, 3, np.inf])
    with pytest.raises(ValueError, match="precision 0 given; allowed: above 0"):
        seeds_needed(x, 0)


@pytest.mark.parametrize(
    ("start", "most", "expected"), [(3, 30, 5), (5, 30, 4), (5, 5, 1), (3, 24, 4), (3, 25, 5)]
)
def test_looks_are_counted_by_doubling(start, most, expected):
    assert looks(start, most) == expected


def test_a_round_doubles_the_seeds_at_most_and_ends_where_all_is_narrow():
    x = np.random.default_rng(3).normal(10, [[0.01], [3.0]], (2, 5))
    wide = {"seeds": 5, "alpha": 0.01, "left": 9}
    assert next_seeds(x, 0.05, most=30, **wide) == 10
    assert next_seeds(x, 0.05, most=8, **wide) == 8
    assert next_seeds(x, 0.05, most=5, **wide) == 5
    assert next_seeds(x[:1], 0.05, most=30, **wide) == 5
    needed = float(seeds_needed(x[1], 0.8, alpha=0.01))
    assert 5 < needed < 10
    assert next_seeds(x, 0.8, most=30, **wide) == needed


def test_no_run_takes_more_looks_than_were_given_a_share():
    # a spread at which the last few seeds are asked for one by one: 10 looks of 7 in a tenth of the runs
    rng = np.random.default_rng(5)
    start, most = 3, 100
    counts = []
    for row in rng.lognormal(0.0, 0.3, (200, most)):
        seeds, after, count = 0, start, 0
        while after != seeds:
            seeds, count = after, count + 1
            left = looks(start, most) - count
            shown = {"seeds": seeds, "most": most, "alpha": ALPHA / looks(start, most), "left": left}
            after = next_seeds(row[None, :seeds], 0.1, log=True, **shown)
            assert after <= 2 * seeds
        counts.append(count)
    assert max(counts) == looks(start, most)
    assert next_seeds(np.array([[1.0, 2, 9]]), 0.1, seeds=3, most=100, alpha=0.01, left=0) == 100


def test_what_seldom_has_a_value_asks_for_nothing():
    x = np.array([[1.0, np.nan, np.nan, np.nan], [1.0, 1.001, 0.999, 1.0]])
    assert next_seeds(x, 0.1, seeds=4, most=30, alpha=0.01, left=3) == 4
    assert next_seeds(np.zeros((0, 0)), 0.1, seeds=4, most=30, alpha=0.01, left=3) == 4
    x[0, 1] = 1.3  # two values give a spread, but no interval that may end it
    assert next_seeds(x, 0.1, seeds=4, most=30, alpha=0.01, left=3) == 8


def test_seeds_added_in_rounds_keep_the_coverage():
    # An interval looked at anew with 5 % each time stops where it happens to be narrow, and covers less
    rng = np.random.default_rng(2)
    n, start, most = 600, 3, 30
    x = rng.lognormal(0.0, 0.3, (n, most))

    def covered(alpha):
        hits = 0
        for row in x:
            seeds, after, left = 0, start, looks(start, most)
            while after != seeds:
                seeds, left = after, left - 1
                shown = {"seeds": seeds, "most": most, "alpha": alpha, "left": left}
                after = next_seeds(row[None, :seeds], 0.2, log=True, **shown)
            found = t_interval(row[:seeds], log=True, alpha=alpha)
            hits += bool(found.lo <= 1 <= found.hi)
        return hits / n

    assert covered(ALPHA / looks(start, most)) >= 0.95
    assert covered(ALPHA) < 0.95 - math.sqrt(0.95 * 0.05 / n)
