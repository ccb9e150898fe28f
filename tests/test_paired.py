"""A against B, and many over tasks: against scipy, by hand, and by simulation."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from ebmark.stats import friedman, holm, paired, t_interval


def test_paired_is_scipys_test_cell_by_cell():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5, 12))
    a[0, 0, 3:] = np.nan  # 3 pairs
    a[1, 1, 8:] = np.nan  # 8
    b[2, 2, 4] = a[2, 2, 4]  # a tie
    ours = paired(a, b)
    for cell in np.ndindex(3, 5):
        gap = (a - b)[cell]
        gap = gap[~np.isnan(gap)]
        assert ours.pairs[cell] == len(gap)
        if len(gap) < 6:
            assert ours.few[cell]
            assert math.isnan(ours.p[cell])
            continue
        np.testing.assert_allclose(ours.p[cell], stats.wilcoxon(gap, zero_method="zsplit").pvalue, rtol=1e-12)
        np.testing.assert_allclose(ours.difference.lo[cell], t_interval(gap).lo, rtol=1e-12)
        test = stats.binomtest(int((gap < 0).sum()), len(gap)).proportion_ci(0.95, "exact")
        if (gap != 0).all():
            np.testing.assert_allclose([ours.below.lo[cell], ours.below.hi[cell]], test, atol=1e-12)


@pytest.mark.parametrize("n", [6, 9, 13])
def test_equal_pairs_are_tested_as_scipy_does(n):
    rng = np.random.default_rng(n)
    gap = rng.integers(-2, 6, (4 if n < 13 else 1, n)).astype(float)  # zeros and ties; scipy is slow
    gap[:, 0] = 0
    for row, p in zip(gap, paired(gap, np.zeros(n)).p, strict=True):
        np.testing.assert_allclose(p, stats.wilcoxon(row, zero_method="zsplit").pvalue, rtol=1e-12)


def test_equal_gaps_without_a_zero_are_counted_over_all_signs_at_once():
    # failures on one side are such gaps; scipy's loop takes half a second a row
    rng = np.random.default_rng(3)
    gap = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0, np.inf], (400, 13))
    start = time.process_time()
    p = paired(gap, np.zeros(13)).p
    assert time.process_time() - start < 10
    signs = 1 - 2 * ((np.arange(2**13)[:, None] >> np.arange(13)) & 1)
    for row, found in zip(gap[:20], p[:20], strict=True):
        rank = stats.rankdata(np.abs(row))
        sums, seen = signs @ rank, np.sign(row) @ rank
        np.testing.assert_allclose(found, (np.abs(sums) >= abs(seen) - 1e-9).mean(), rtol=1e-12)


def test_no_pairs_at_all():
    assert paired(np.zeros((2, 0)), np.zeros((2, 0))).pairs.tolist() == [0, 0]


def test_effect_and_share_by_hand():
    ours = paired(np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 2, 4]))
    # gaps -1, -2, 1, 0: ranks 2.5, 4, 2.5, 1
    assert ours.effect == (2.5 - 2.5 - 4) / 10
    assert ours.below.centre == 2.5 / 4
    assert ours.difference.centre == -0.5
    always = paired(np.zeros(8), np.arange(1.0, 9))
    assert (always.effect, always.below.centre, always.below.hi) == (-1, 1, 1)
    np.testing.assert_allclose(always.below.lo, 0.025 ** (1 / 8))
    np.testing.assert_allclose(always.p, 2 / 2**8)


def test_five_seeds_are_too_few_however_clear():
    ours = paired(np.arange(5.0), np.arange(5.0) + 10)
    assert ours.few
    assert math.isnan(ours.p)
    assert paired(np.arange(6.0), np.arange(6.0) + np.arange(1, 7)).p == 0.03125


def test_ratios_on_the_log_scale():
    b = np.array([1.0, 10, 100, 5])
    ours = paired(2 * b, b, log=True)
    np.testing.assert_allclose([ours.difference.centre, ours.difference.lo, ours.difference.hi], 2)
    with pytest.raises(ValueError, match="on the log scale; allowed: above 0"):
        paired(np.array([0.0, 1]), np.array([1.0, 1]), log=True)


def test_a_failure_is_worse_than_every_run_and_in_no_mean():
    a = np.array([1.0, 2, np.inf, 4, np.inf, 6, 7])
    b = np.array([2.0, 4, 50, 9, np.inf, 13, 15])
    ours = paired(a, b)
    assert ours.pairs == 7
    assert ours.below.centre == 5.5 / 7
    assert ours.difference.centre == -np.mean([1, 2, 5, 7, 8])
    assert ours.effect == (-2 - 3 - 4 - 5 - 6 + 7) / 28
    # two failures are a tie, and nothing is said of their costs
    np.testing.assert_allclose(
        ours.p, stats.wilcoxon([-1, -2, 99, -5, 0, -7, -8], zero_method="zsplit").pvalue
    )


def test_an_empty_cell_says_nothing():
    ours = paired(np.full((2, 3), np.nan), np.ones((2, 3)))
    assert ours.pairs.tolist() == [0, 0]
    assert np.isnan([ours.effect, ours.below.centre, ours.below.lo, ours.difference.centre]).all()


def test_the_share_below_is_covered():
    rng = np.random.default_rng(1)
    for n in (6, 10, 20):
        a = rng.normal(size=(4000, n)) - 0.5
        ours = paired(a, np.zeros(n))
        covered = ((ours.below.lo <= stats.norm.cdf(0.5)) & (stats.norm.cdf(0.5) <= ours.below.hi)).mean()
        assert covered >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 4000)


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.2, np.nan, 0.01])), [0.2, np.nan, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])


def test_holm_keeps_the_chance_of_any_false_claim():
    p = np.random.default_rng(2).random((4000, 5))
    p[:, 0] /= 1000  # one true difference
    false = np.mean([(holm(row)[1:] < 0.05).any() for row in p])
    assert false <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert (p[:, 1:] < 0.05).any(-1).mean() > 0.15


def test_friedman_is_scipys_with_ranks_by_hand():
    values = np.random.default_rng(3).normal(size=(4, 9)) + np.array([[0], [0.2], [1], [3]])
    ours = friedman(values)
    np.testing.assert_allclose(ours.p, stats.friedmanchisquare(*values).pvalue)
    np.testing.assert_allclose(ours.ranks, stats.rankdata(values, axis=0).mean(-1))
    assert (ours.tasks, ours.critical, ours.note) == (9, None, "critical difference from 20 tasks on")
    i, j = np.triu_indices(4, 1)
    np.testing.assert_allclose(
        ours.pairwise[i, j],
        holm([stats.wilcoxon(values[x], values[y]).pvalue for x, y in zip(i, j, strict=True)]),
    )
    assert ours.different[0, 3]
    assert not ours.different[0, 1]
    assert np.array_equal(ours.different, ours.different.T)


def test_the_critical_difference_is_nemenyis():
    # Demsar's table 5: q 2.343 for three methods, 2.569 for four
    rng = np.random.default_rng(4)
    for m, q in ((3, 2.343), (4, 2.569)):
        critical = friedman(rng.normal(size=(m, 20))).critical
        assert critical is not None
        np.testing.assert_allclose(critical, q * math.sqrt(m * (m + 1) / 120), rtol=3e-4)


def test_friedman_says_when_it_cannot():
    assert friedman(np.zeros((2, 30))).note == "fewer than three methods"
    few = friedman(np.where(np.arange(8) > 4, np.nan, np.ones((3, 8))))
    assert (few.tasks, few.note, few.different.any()) == (5, "too few tasks: 5, 6 needed", False)
    alike = friedman(np.ones((3, 8)))
    assert (alike.p, alike.different.any(), alike.ranks.tolist()) == (1, False, [2, 2, 2])


def test_failures_rank_last():
    values = np.stack([np.arange(8.0), np.arange(8.0) + 1, np.full(8, np.inf)])
    assert friedman(values).ranks.tolist() == [1, 2, 3]


def test_twenty_thousand_comparisons_are_made_at_once():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 20_000, 8))
    a[::3, 5:] = np.nan
    start = time.process_time()
    paired(a, b)
    assert time.process_time() - start < 5
