"""Statistics against closed forms, scipy, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ebmark.stats import (
    best_and_ties,
    crossover,
    ert,
    ert_interval,
    half_width,
    iqm,
    iqm_interval,
    performance_profile,
    scaling_exponent,
    seed_interval,
    t_interval,
)

SIMULATIONS = 4000
# The share of SIMULATIONS intervals of coverage 0.95 that cover lies within 4 standard errors of it.
TOLERANCE = 4 * math.sqrt(0.95 * 0.05 / SIMULATIONS)


def covers(lo, hi, truth):
    return float(((lo <= truth) & (truth <= hi)).mean())


def test_t_interval_is_scipys():
    x = np.random.default_rng(0).normal(size=(7, 5))
    ours = t_interval(x)
    lo, hi = stats.t.interval(0.95, 4, loc=x.mean(-1), scale=stats.sem(x, axis=-1))
    np.testing.assert_allclose([ours.lo, ours.hi], [lo, hi], rtol=1e-12)
    np.testing.assert_allclose(ours.centre, x.mean(-1), rtol=1e-12)


def test_t_interval_of_two_values_by_hand():
    # mean 1, standard error 1, and the 0.975 quantile of a Cauchy variable is tan(0.475 pi)
    ours = t_interval(np.array([0.0, 2.0]))
    np.testing.assert_allclose(
        [ours.lo, ours.hi], 1 + np.array([-1, 1]) * math.tan(0.475 * math.pi), rtol=1e-10
    )


def test_ends_beyond_the_largest_number_are_infinite():
    # the half width of (1e-300, 1e300) is 12.7 x 691 e-foldings; a failed run has no interval
    ours = t_interval(np.array([[1e-300, 1e300], [2.0, np.inf], [4.0, 4.0]]), log=True)
    np.testing.assert_allclose(ours.centre, [1, np.inf, 4])
    np.testing.assert_array_equal(ours.lo[:2], [0, np.nan])
    assert math.isinf(ours.hi[0])
    wide = t_interval(np.array([1e300, -1e300, 5e299]))
    assert (wide.lo, wide.hi) == (-math.inf, math.inf)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_interval_covers(n, log):
    x = np.random.default_rng(n).normal(0.3, 0.8, size=(SIMULATIONS, n))
    ours = t_interval(np.exp(x), log=True) if log else t_interval(x)
    assert abs(covers(ours.lo, ours.hi, math.exp(0.3) if log else 0.3) - 0.95) <= TOLERANCE


def test_a_percentile_bootstrap_over_five_seeds_does_not_cover():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 5))
    means = x[np.arange(2000)[:, None, None], rng.integers(5, size=(2000, 400, 5))].mean(-1)
    lo, hi = np.quantile(means, [0.025, 0.975], axis=-1)
    assert covers(lo, hi, 0) < 0.88


def test_t_interval_leaves_missing_values_out_and_says_when_there_are_too_few():
    x = np.array([[1.0, 2.0, np.nan, 4.0], [3.0, np.nan, np.nan, np.nan]])
    ours = t_interval(x)
    alone = t_interval(np.array([1.0, 2.0, 4.0]))
    assert (ours.centre[0], ours.lo[0], ours.hi[0]) == (alone.centre, alone.lo, alone.hi)
    assert ours.centre[1] == 3.0
    assert np.isnan([ours.lo[1], ours.hi[1]]).all()
    assert np.isnan(half_width(np.array([1.0]), np.array([1])))


def test_t_interval_refuses_a_logarithm_of_nothing():
    with pytest.raises(ValueError, match="on the log scale; allowed: above 0"):
        t_interval(np.array([1.0, 0.0]), log=True)


def test_iqm_drops_a_quarter_on_each_side():
    assert iqm(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == 3.5
    assert iqm(np.array([1.0, 2, 3, np.inf])) == 2.5
    assert iqm(np.array([1.0, 2, np.inf, np.inf])) == np.inf


def test_seed_interval_is_students_and_from_twenty_values_on_bca():
    x = np.random.default_rng(20).gamma(2, size=(3, 25))
    x[0, 19:] = np.nan
    ours = seed_interval(x)
    assert (ours.lo[0], ours.hi[0]) == (t_interval(x[0]).lo, t_interval(x[0]).hi)
    for i in (1, 2):
        theirs = stats.bootstrap(
            (x[i],), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
        )
        # 2000 draws know an end to about 2 % of the length
        end = theirs.confidence_interval
        np.testing.assert_allclose([ours.lo[i], ours.hi[i]], end, atol=0.05 * (end.high - end.low))
    np.testing.assert_allclose(seed_interval(x, log=True).centre, stats.gmean(x, axis=-1, nan_policy="omit"))
    same = seed_interval(np.ones((1, 30)))
    assert (same.lo[0], same.hi[0]) == (1, 1)


def test_iqm_interval_covers_the_pooled_middle_half():
    rng = np.random.default_rng(21)
    mu = np.linspace(0, 3, 10)[:, None]
    truth = iqm((mu + rng.normal(0, 0.5, (10, 40_000))).reshape(-1))
    found = [iqm_interval(mu + rng.normal(0, 0.5, (10, 5))) for _ in range(300)]
    hits = np.mean([one.lo <= truth <= one.hi for one in found])
    assert abs(hits - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 300)


def test_iqm_interval_is_the_bootstraps_by_enumeration():
    # one task, values 0 and 1: means of a pair are 0, 1/2, 1, the ends 0 and 1, widened by sqrt 2 about 1/2
    ours = iqm_interval(np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(
        [ours.centre, ours.lo, ours.hi], [0.5, 0.5 - math.sqrt(0.5), 0.5 + math.sqrt(0.5)]
    )
    assert iqm_interval(np.array([[1.0, 2, 3, np.inf]])).hi == np.inf
    assert math.isnan(iqm_interval(np.array([[1.0], [2.0]])).lo)


def test_exponent_covers_with_six_sizes_and_lack_of_fit():
    rng = np.random.default_rng(22)
    d = 2.0 ** np.arange(1, 7)
    costs = d**1.1 * np.exp(rng.normal(0, 0.15, (2000, 6)))
    fits = [scaling_exponent(d, cost) for cost in costs]
    hits = np.mean([fit.lo <= 1.1 <= fit.hi for fit in fits])
    assert abs(hits - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_exponent_of_an_exact_power_law():
    d = np.array([2, 4, 8, 16, 32, 64.0])
    fit = scaling_exponent(d, 3 * d**1.3)
    np.testing.assert_allclose([fit.value, fit.lo, fit.hi], 1.3, atol=1e-12)
    constant = scaling_exponent(d, np.full(6, 3.0))
    np.testing.assert_allclose([constant.value, constant.lo, constant.hi], 0, atol=1e-12)
    assert (fit.sizes, fit.local) == (6, False)
    assert scaling_exponent(d[:5], d[:5]).local
    assert math.isnan(scaling_exponent(d[:2], d[:2]).value)


def test_exponent_is_the_t_interval_of_the_per_size_means():
    rng = np.random.default_rng(2)
    d = np.repeat([2, 4, 8, 16, 32, 64, 128.0], [5, 3, 5, 5, 1, 5, 2])
    cost = d**0.7 * np.exp(rng.normal(0, 0.2, len(d)))
    x = np.log(np.unique(d))
    y = np.array([np.log(cost[d == size]).mean() for size in np.unique(d)])
    slope, covariance = np.polyfit(x, y, 1, cov=True)
    fit = scaling_exponent(d, cost)
    half = stats.t.ppf(0.975, 5) * math.sqrt(covariance[0, 0])
    np.testing.assert_allclose([fit.value, fit.lo, fit.hi], slope[0] + np.array([0, -half, half]), rtol=1e-9)


def test_exponent_covers_when_runs_at_one_size_share_their_deviation():
    rng = np.random.default_rng(3)
    d = np.repeat(2.0 ** np.arange(1, 8), 5)
    hits, pooled = 0, 0
    for _ in range(1000):
        shared = np.repeat(rng.normal(0, 0.1, 7), 5)
        y = 1.1 * np.log(d) + shared + rng.normal(0, 0.05, len(d))
        fit = scaling_exponent(d, np.exp(y))
        hits += fit.lo <= 1.1 <= fit.hi
        line = stats.linregress(np.log(d), y)
        pooled += abs(line.slope - 1.1) <= stats.t.ppf(0.975, len(d) - 2) * line.stderr
    assert abs(hits / 1000 - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 1000)
    assert pooled / 1000 < 0.85  # what pooling the runs would claim


def test_exponent_leaves_out_failures():
    d = np.array([2, 4, 8, 16.0])
    fit = scaling_exponent(d, np.array([2, 4, 8, np.inf]))
    assert (fit.sizes, round(fit.value, 12)) == (3, 1.0)


def test_crossover_of_two_exact_lines():
    d = np.array([2, 4, 8, 16, 32.0])
    at = crossover(d, 2 * d, np.full(5, 20.0))
    assert at is not None
    np.testing.assert_allclose([at.dim, at.lo, at.hi], 10, rtol=1e-6)
    assert at.measured
    assert crossover(d, d, np.full(5, 1000.0)) is None  # at 1000: nothing supports the lines there
    assert crossover(d, d, 2 * d) is None  # parallel
    beyond = crossover(d, d, np.full(5, 50.0))
    assert beyond is not None
    assert not beyond.measured


def test_crossover_interval_covers():
    rng = np.random.default_rng(4)
    d = 2.0 ** np.arange(1, 8)
    found = [
        crossover(d, d**0.9 * np.exp(rng.normal(0, 0.1, 7)), 12**0.9 * np.exp(rng.normal(0, 0.1, 7)))
        for _ in range(1000)
    ]
    assert all(found)
    rate = np.mean([at.lo <= 12 <= at.hi for at in found])
    assert abs(rate - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 1000)


def test_crossover_is_unbounded_where_slopes_cannot_be_told_apart():
    d = np.array([2, 4, 8, 16.0])
    at = crossover(d, np.array([1.3, 0.7, 1.4, 0.8]), np.ones(4))
    assert at is None or (at.lo, at.hi) == (0, math.inf)


def test_ert_charges_failures():
    cost = np.array([10.0, 20, 30, 100, 100])
    assert ert(cost, np.array([True, True, True, False, False])) == 260 / 3
    assert ert(cost, np.array([True, True, False, False, False])) == math.inf  # two reach it
    assert ert(np.ones(6), np.arange(6) < 3) == math.inf  # three of six are below 60 %
    assert ert(np.array([1.0, 2, 3, np.nan]), np.array([True] * 4)) == 2
    assert ert(np.array([1.0, 2]), np.array([True, True])) == math.inf


def test_ert_is_the_mean_cost_of_restarting_until_success():
    # p successes of cost 1 and failures of cost 4: 1 + 4 (1 - p)/p
    rng = np.random.default_rng(5)
    reached = rng.random(200_000) < 0.7
    expected = 1 + 4 * 0.3 / 0.7
    got = float(ert(np.where(reached, 1.0, 4.0), reached))
    # delta method: sd of (1 - p)/p over n runs is sqrt((1 - p)/p^3/n)
    assert abs(got - expected) <= 4 * 4 * math.sqrt(0.3 / 0.7**3 / 200_000)


@pytest.mark.parametrize(("p", "n", "sd"), [(0.8, 10, 0.5), (0.9, 20, 0.3), (1.0, 5, 0.3), (0.75, 8, 0.1)])
def test_expected_running_time_is_covered(p, n, sd):
    rng = np.random.default_rng(23)
    reached = rng.random((2000, n)) < p
    cost = np.where(reached, np.exp(rng.normal(0, sd, (2000, n))), 4.0)
    truth = math.exp(sd**2 / 2) + 4 * (1 - p) / p
    ours = ert_interval(cost, reached, np.full(2000, 4.0))
    assert covers(ours.lo, ours.hi, truth) >= 0.93  # discrete: between 0.93 and 1
    there = np.isfinite(ours.centre)
    assert ((ours.lo <= ours.centre) & (ours.centre <= ours.hi))[there].all()
    np.testing.assert_array_equal(ours.centre, ert(cost, reached))


def test_expected_running_time_where_the_target_is_seldom_reached():
    reached = np.array([[True, True, False, False, False], [False] * 5])
    ours = ert_interval(np.full((2, 5), 10.0), reached)
    assert ours.centre.tolist() == [math.inf, math.inf]
    assert ours.hi.tolist() == [math.inf, math.inf]
    # no success in five: p is below the 97.5 % quantile of Beta(0.5, 5.5)
    highest = stats.beta.ppf(0.975, 0.5, 5.5)
    np.testing.assert_allclose(ours.lo[1], 10 * (1 - highest) / highest)
    assert math.isnan(ert_interval(np.full(3, np.nan), np.zeros(3, dtype=bool)).lo)


def test_an_expected_running_time_does_not_depend_on_its_neighbours():
    rng = np.random.default_rng(24)
    cost, reached = rng.gamma(3, size=(6, 2, 5)), rng.random((6, 2, 5)) < 0.9
    whole = ert_interval(cost, reached)
    for cell in np.ndindex(6, 2):
        alone = ert_interval(cost[cell], reached[cell])
        np.testing.assert_array_equal([whole.lo[cell], whole.hi[cell]], [alone.lo, alone.hi])


def test_performance_profile_by_hand():
    cost = np.array([[1.0, 4, np.inf, 2], [2.0, 2, np.inf, np.nan], [3.0, 3, np.inf, 2]])
    ours = performance_profile(cost, np.array([1.0, 1.5, 2, 3]))
    # the third task is solved by none
    np.testing.assert_array_equal(
        ours, [[0.5, 0.5, 0.75, 0.75], [0.25, 0.25, 0.5, 0.5], [0.25, 0.5, 0.5, 0.75]]
    )


def test_a_clear_best_has_no_ties_and_a_near_one_has():
    base = np.arange(5.0)
    clear = best_and_ties(np.stack([base + 1, base, base + 2]) + 1e-3 * np.eye(3, 5))
    assert (clear.best, clear.ties.any(), clear.star, clear.note) == (1, False, False, "too few seeds")
    near = best_and_ties(np.stack([base, base + np.array([0.1, -0.08, 0.1, -0.1, 0.1])]))
    assert (near.best, near.ties.tolist()) == (0, [False, True])


def test_pairing_sees_through_the_spread_of_seeds():
    shared = 10 * np.random.default_rng(6).normal(size=8)
    noise = 0.1 * np.random.default_rng(7).normal(size=8)
    rank = best_and_ties(np.stack([shared, shared + 1 + noise]))
    assert (rank.best, rank.ties.any(), rank.star, rank.note) == (0, False, True, "")


def test_the_star_agrees_with_scipys_signed_rank_test():
    a, b = np.random.default_rng(8).normal(size=(2, 9)) + np.array([[0], [0.9]])
    assert best_and_ties(np.stack([a, b])).star == (stats.wilcoxon(a, b).pvalue < 0.05)
    assert not best_and_ties(np.ones((2, 9))).star


def test_failed_and_untrusted_values_never_rank():
    values = np.array([[0.0, 0.0, np.nan], [1.0, 1.1, 1.2], [2.0, 2.2, 2.1]])
    assert best_and_ties(values).best == 1
    assert best_and_ties(values[:2]).best is None
    assert best_and_ties(values[:2]).note == "fewer than two methods can be ranked"
    few = best_and_ties(values[:, :2])
    assert (few.best, few.note) == (None, "too few seeds")


def test_what_failed_or_has_no_logarithm_never_ranks():
    ended = [[1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [2.0, 2.2, 2.1, 2.3, 2.2, 2.4]]
    for bad in (np.inf, -np.inf, 0.0, -3.0):
        rank = best_and_ties(np.array([[1e-3, 1e-3, bad, 1e-3, 1e-3, 1e-3], *ended]), log=True)
        assert (rank.best, rank.ties.tolist(), rank.star) == (1, [False] * 3, True)
    none = best_and_ties(np.full((3, 6), np.inf))
    assert (none.best, none.note) == (None, "fewer than two methods can be ranked")
    # equal gaps, five of one sign and a zero: 0.0625, no star; six: 0.03125
    assert not best_and_ties(np.array([[0.0] * 6, [0.0, 1, 1, 1, 1, 1]])).star
    assert best_and_ties(np.array([[0.0] * 6, [1.0] * 6])).star


def test_the_truly_best_method_is_best_or_tied():
    # six methods, the first better by a third of a standard deviation: marked in at least 95 % of studies
    rng = np.random.default_rng(9)
    marked = 0
    for _ in range(1000):
        rank = best_and_ties(rng.normal(size=(6, 5)) - 0.3 * np.eye(6, 1))
        marked += rank.best == 0 or bool(rank.ties[0])
    assert marked / 1000 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 1000)
