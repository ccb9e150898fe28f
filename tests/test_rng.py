"""Streams: named, reproducible, independent of one another, one per leading index."""

import math

import pytest
import torch

from ebmark.rng import Rng


def test_the_same_name_gives_the_same_numbers_and_another_name_others():
    a, b, c = (Rng.of(*key).normal((100,)) for key in (("data", 3), ("data", 3), ("data", 4)))
    assert torch.equal(a, b)
    assert abs(torch.corrcoef(torch.stack([a, c]))[0, 1]) < 4 / math.sqrt(100)


def test_splitting_does_not_depend_on_what_was_drawn():
    fresh, used = Rng.of("x"), Rng.of("x")
    used.normal((10,))
    assert torch.equal(fresh.split("child").normal((5,)), used.split("child").normal((5,)))


def test_stacked_streams_draw_what_each_would_alone():
    stack = Rng.of("x").stack(3)
    together = stack.normal((3, 4, 2))
    alone = [Rng(seed).normal((4, 2)) for seed in stack.seeds]
    assert torch.equal(together, torch.stack(alone))
    assert stack.split("a").sign((3, 5)).shape == (3, 5)
    with pytest.raises(ValueError, match="leading length"):
        stack.normal((2, 4))


def test_a_saved_state_continues():
    rng = Rng.of("x").stack(2)
    rng.normal((2, 3))
    state = rng.state()
    expected = rng.normal((2, 3))
    other = Rng.of("y").stack(2)
    other.load(state)
    assert torch.equal(other.normal((2, 3)), expected)


def test_moments():
    rng, n = Rng.of("moments", dtype=torch.float64), 40_000
    signs = rng.sign((n,))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) <= 4 / math.sqrt(n)
    x = rng.normal((n,))
    assert abs(x.var() - 1) <= 4 * math.sqrt(2 / n)
    u = rng.uniform((n,))
    assert abs(u.mean() - 0.5) <= 4 * math.sqrt(1 / 12 / n)
    assert sorted(rng.permutation(10).tolist()) == list(range(10))


def test_a_subset_has_different_members_each_as_likely_as_any_other():
    rng, draws = Rng.of("subset"), 4000
    found = torch.stack([rng.subset(23, 5) for _ in range(draws)])
    assert all(len(set(row)) == 5 for row in found.tolist())
    counts = torch.bincount(found.flatten(), minlength=23)
    assert len(counts) == 23
    p = 5 / 23  # the count of one member is binomial
    assert ((counts - draws * p).abs() < 4.5 * math.sqrt(draws * p * (1 - p))).all()
    assert sorted(rng.subset(7, 7).tolist()) == list(range(7))
    first = (found[:, 0] == 11).sum()  # so is its place in a row
    assert abs(first - draws / 23) < 4.5 * math.sqrt(draws / 23)
    side_by_side = rng.stack(3)
    assert side_by_side.subset(9, 4).shape == (3, 4)


def test_some_of_the_streams_go_on_where_they_stand():
    rng, twin = Rng.of("only").stack(4), Rng.of("only").stack(4)
    rng.normal((4, 3)), twin.normal((4, 3))
    assert torch.equal(rng.only([0, 3]).normal((2, 5)), twin.normal((4, 5))[[0, 3]])
