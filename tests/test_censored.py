"""The exponent with runs that never ended: what it reduces to, and simulated coverage."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from ebmark.stats import scaling_exponent, tobit_exponent
from ebmark.stats.censored import _log_likelihood, _runs

SIZES = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48.0])
TRUTH = 1.1


def study(rng, sizes, runs, lack, within, share):
    """Runs of a power law until a limit that ``share`` of them exceed: d, what was spent, and who failed."""
    d = np.repeat(sizes, runs)
    y = TRUTH * np.log(d) + np.repeat(rng.normal(0, lack, len(sizes)), runs) + rng.normal(0, within, len(d))
    limit = np.quantile(TRUTH * np.log(d), 1 - share) + 0.02
    return d, np.exp(np.minimum(y, limit)), y > limit


def test_without_censored_runs_it_is_the_plain_exponent():
    rng = np.random.default_rng(0)
    d, cost, _ = study(rng, SIZES, 5, 0.1, 0.1, 0)
    assert tobit_exponent(d, cost, np.zeros(50, dtype=bool)) == scaling_exponent(d, cost)


def test_a_limit_that_says_nothing_leaves_the_t_interval():
    # one run a size: the profile bound n log(1 + t^2/(n - 2)) is Student's, and cost > 1e-9 adds no knowledge
    rng = np.random.default_rng(1)
    d, cost, _ = study(rng, SIZES, 1, 0.15, 0, 0)
    ours = tobit_exponent(np.append(d, 48), np.append(cost, 1e-9), np.arange(11) == 10)
    plain = scaling_exponent(d, cost)
    np.testing.assert_allclose([ours.value, ours.lo, ours.hi], [plain.value, plain.lo, plain.hi], atol=2e-4)


def test_an_exact_law_survives_censoring():
    cost = 3 * SIZES**TRUTH
    failed = np.arange(10) >= 7
    fit = tobit_exponent(SIZES, np.where(failed, cost[6], cost), failed)
    np.testing.assert_allclose([fit.value, fit.lo, fit.hi], TRUTH, atol=5e-3)
    assert (fit.sizes, fit.local) == (7, False)
    assert tobit_exponent(SIZES[:6], cost[:6], np.arange(6) > 4).local


def test_leaving_failures_out_or_taking_them_as_costs_is_biased():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(81):
        d, cost, failed = study(rng, SIZES, 1, 0.4, 0, 0.3)
        found.append(
            [
                tobit_exponent(d, cost, failed).value,
                scaling_exponent(d[~failed], cost[~failed]).value,
                scaling_exponent(d, cost).value,
            ]
        )
    error, se = np.mean(found, 0) - TRUTH, np.std(found, 0) / 9
    assert abs(error[0]) <= 4 * se[0]
    assert (error[1:] < -4 * se[1:]).all()


@pytest.mark.parametrize(("runs", "within", "n"), [(1, 0.0, 100), (3, 0.1, 50)])
def test_a_known_exponent_is_covered_with_a_third_of_the_runs_censored(runs, within, n):
    # scripts/bench intervals simulates thousands
    rng = np.random.default_rng(3)
    hits, censored = 0, 0.0
    for _ in range(n):
        d, cost, failed = study(rng, SIZES, runs, 0.15, within, 0.3)
        fit = tobit_exponent(d, cost, failed)
        hits += fit.lo <= TRUTH <= fit.hi
        censored += failed.mean() / n
    assert 0.28 <= censored <= 0.34
    assert abs(hits / n - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / n)


def test_the_likelihood_is_the_integral_over_the_shared_deviation():
    d = np.array([2, 2, 2, 4, 4, 8.0])
    y = np.array([0.3, 0.5, 0.6, 1.2, 0.9, 1.4])
    failed = np.array([False, False, True, True, True, True])
    level, b, s, share = 0.8, 1.2, 0.4, 0.6
    tau, sigma = s * math.sqrt(share), s * math.sqrt(1 - share)
    mu = level + b * (np.log(d) - np.log([2, 4, 8]).mean())
    expected = 0.0
    for size in (2, 4, 8):
        here = d == size

        def integrand(v, here=here):
            ended = stats.norm.pdf(y[here & ~failed], mu[here & ~failed] + v, sigma).prod()
            beyond = stats.norm.sf(y[here & failed], mu[here & failed] + v, sigma).prod()
            return ended * beyond * stats.norm.pdf(v, 0, tau)

        expected += math.log(integrate.quad(integrand, -3, 3)[0])
    got = _log_likelihood(np.array([level, b, math.log(s), share]), _runs(d, y, failed))
    # constants of the normal density, one for each run that ended, are left out
    np.testing.assert_allclose(got - math.log(2 * math.pi), expected, rtol=1e-5)


def test_one_run_a_size_is_the_textbook_tobit():
    rng = np.random.default_rng(4)
    d, cost, failed = study(rng, SIZES, 1, 0.3, 0, 0.3)
    x, y = np.log(d), np.log(cost)

    def minus(p):
        z = (y - p[0] - p[1] * x) / math.exp(p[2])
        return -np.where(failed, stats.norm.logsf(z), stats.norm.logpdf(z) - p[2]).sum()

    best = optimize.minimize(minus, [0, 1, -1], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
    np.testing.assert_allclose(tobit_exponent(d, cost, failed).value, best.x[1], atol=1e-4)


def test_it_says_when_it_knows_too_little():
    d, cost = np.array([2, 4, 8, 16.0]), np.array([1, 2, 3, 4.0])
    assert math.isnan(tobit_exponent(d, cost, np.array([False, False, True, True])).value)
    few = tobit_exponent(d, cost, np.array([False, False, False, True]))
    assert few.local
    assert few.hi - few.lo > 1


def test_a_fit_takes_a_fraction_of_a_second():
    d, cost, failed = study(np.random.default_rng(5), SIZES, 5, 0.15, 0.1, 0.3)
    start = time.process_time()
    tobit_exponent(d, cost, failed)
    assert time.process_time() - start < 1
