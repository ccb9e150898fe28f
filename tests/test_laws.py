"""Laws of cost in the dimension: named where they were planted, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from ebmark.stats import law, scaling_exponent
from ebmark.stats.laws import _offset

D12 = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128.0])
LAWS = {
    "constant": lambda d: np.full(d.shape, 4.0),
    "power": lambda d: 3 * d**1.3,
    "exponential": lambda d: 2 * np.exp(0.05 * d),
    "offset": lambda d: 1 + 0.01 * d**1.3,
}


def named(truth, d, noise, studies, seed):
    """The names given to noisy measurements of a law, and how many intervals of its growth hold ``c``."""
    rng = np.random.default_rng(seed)
    return [law(d, LAWS[truth](d) * np.exp(rng.normal(0, noise, len(d)))) for _ in range(studies)]


@pytest.mark.parametrize(
    ("truth", "a", "b", "c"),
    [
        ("constant", 4, None, None),
        ("power", 3, None, 1.3),
        ("exponential", 2, None, 0.05),
        ("offset", 1, 0.01, 1.3),
    ],
)
def test_an_exact_law_is_named_with_its_numbers(truth, a, b, c):
    found = law(np.repeat(D12, 2), np.repeat(LAWS[truth](D12), 2))
    assert (found.name, found.note) == (truth, "")
    for given, expected in ((found.a, a), (found.b, b), (found.c, c)):
        np.testing.assert_allclose(given, math.nan if expected is None else expected, rtol=2e-3)
    if c is not None:
        assert found.lo <= found.c <= found.hi
    np.testing.assert_allclose(
        found.at(np.array([5.0, 200.0])), LAWS[truth](np.array([5.0, 200.0])), rtol=5e-3
    )


def test_nothing_is_said_beyond_twice_the_largest_size():
    found = law(D12, LAWS["offset"](D12))
    assert np.isnan(found.at(np.array([0.9, 257.0]))).all()
    assert np.isfinite(found.at(np.array([1.0, 256.0]))).all()
    assert np.isnan(law(D12[:6], D12[:6]).at(D12)).all()


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_an_offset_law_is_not_called_exponential(noise):
    found = named("offset", D12, noise, 100, 1)
    assert sum(one.name == "exponential" for one in found) == 0
    assert sum(one.name == "offset" for one in found) >= 95


def test_noise_makes_the_offset_law_unidentified_rather_than_exponential():
    found = named("offset", D12, 0.1, 100, 2)
    assert sum(one.name == "exponential" for one in found) <= 3
    assert any(one.note.startswith("law not identified: ") for one in found)


@pytest.mark.parametrize(("truth", "least"), [("power", 80), ("exponential", 95)])
def test_planted_laws_are_recovered(truth, least):
    found = named(truth, D12, 0.05, 100, 3)
    assert sum(one.name == truth for one in found) >= least
    covered = np.mean(
        [one.lo <= {"power": 1.3, "exponential": 0.05}[truth] <= one.hi for one in found if one.name == truth]
    )
    assert abs(covered - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 100)


def test_six_sizes_name_no_law():
    for truth in LAWS:
        for one in named(truth, D12[::2], 0.05, 25, 4):
            assert (one.name, one.note, one.exponent.sizes) == (
                None,
                "law not identified: 6 sizes, 10 needed",
                6,
            )


def test_a_law_is_never_claimed_while_another_is_within_two():
    for noise in (0.05, 0.3):
        for truth in LAWS:
            for one in named(truth, D12, noise, 25, 5):
                order = sorted(one.aicc.values())
                if one.name is not None:
                    assert order[1] - order[0] >= 2
                    assert one.aicc[one.name] == order[0]
                assert one.exponent.sizes == 12


def test_aicc_is_that_of_a_least_squares_line():
    rng = np.random.default_rng(6)
    cost = LAWS["power"](D12) * np.exp(rng.normal(0, 0.2, 12))
    fit = stats.linregress(np.log(D12), np.log(cost))
    rss = ((np.log(cost) - fit.intercept - fit.slope * np.log(D12)) ** 2).sum()
    found = law(D12, cost)
    np.testing.assert_allclose(found.aicc["power"], 12 * math.log(rss / 12) + 6 + 24 / 8, rtol=1e-12)
    assert found.exponent == scaling_exponent(D12, cost)


def test_the_offset_fit_finds_what_least_squares_from_many_starts_finds():
    rng = np.random.default_rng(7)
    for _ in range(10):
        y = np.log(LAWS["offset"](D12)) + rng.normal(0, 0.15, 12)

        def residual(p, y=y):
            return y - p[0] - np.logaddexp(0, p[1] + p[2] * np.log(D12))

        best = min(
            optimize.least_squares(
                residual, [0, start, c], bounds=([-np.inf, -60, 0.05], [np.inf, 60, 8])
            ).cost
            for c in (0.5, 1, 2, 4)
            for start in (-10, -5, 0)
        )
        assert _offset(D12, y).rss <= 2 * best * (1 + 1e-4)


def test_the_offset_laws_growth_is_covered():
    rng = np.random.default_rng(8)
    d = D12
    hits = 0
    for _ in range(300):
        fit = _offset(d, np.log(1 + 0.05 * d**1.3) + rng.normal(0, 0.05, 12))
        hits += fit.lo <= 1.3 <= fit.hi
    assert abs(hits / 300 - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 300)


def test_more_runs_at_a_size_weigh_no_more():
    cost = LAWS["power"](D12)
    d = np.concatenate([D12, np.full(50, 2.0)])
    ours = law(d, np.concatenate([cost, np.full(50, cost[0])]))
    assert ours.aicc == pytest.approx(law(D12, cost).aicc, rel=1e-6)
