"""The optimisers that a study can name, and the step of the normalised one."""

import math

import pytest
import torch
from torch import nn

from ebmark.errors import SpecError
from ebmark.optimisers import OPTIMISERS, NormalisedSGD
from ebmark.trial import Optimiser


def parameters(*shapes):
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def moves(optimiser, ps):
    """What one step adds to each parameter."""
    before = [p.detach().clone() for p in ps]
    optimiser.step()
    return [p.detach() - b for p, b in zip(ps, before, strict=True)]


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_a_normalised_step_has_the_length_of_the_rate_and_the_direction_of_the_gradient(size):
    """In all parameters together, however steep the loss is; a second step remembers nothing."""
    ps = parameters((3, 2), (4,), ())
    optimiser = NormalisedSGD(ps, lr=0.03)
    for _ in range(2):
        optimiser.zero_grad()
        (size * sum((p + 1).square().sum() for p in ps)).backward()
        g = torch.cat([p.grad.flatten() for p in ps])
        moved = torch.cat([m.flatten() for m in moves(optimiser, ps)])
        torch.testing.assert_close(moved, -0.03 * g / g.norm(), rtol=1e-10, atol=1e-14)
        assert moved.norm().item() == pytest.approx(0.03, rel=1e-10)


def test_a_parameter_without_a_gradient_stays_and_does_not_count():
    ps = parameters((3,), (2,))
    ps[0].square().sum().backward()
    first, second = moves(NormalisedSGD(ps, lr=0.1), ps)
    assert first.norm().item() == pytest.approx(0.1)
    assert not second.any()


def test_nothing_moves_without_any_gradient_or_where_it_is_zero():
    ps = parameters((3,), (2,))
    optimiser = NormalisedSGD(ps, lr=0.1)
    assert not any(m.any() for m in moves(optimiser, ps))
    for p in ps:
        p.grad = torch.zeros_like(p)
    assert not any(m.any() for m in moves(optimiser, ps))
    assert all(math.isfinite(p.sum().item()) for p in ps)


def test_the_optimisers_are_those_that_a_study_may_name():
    for name in OPTIMISERS:
        assert Optimiser(name=name).name == name
    with pytest.raises(SpecError) as error:
        Optimiser(name="none")
    assert str(error.value).endswith("allowed: " + ", ".join(map(repr, OPTIMISERS)))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_makes_a_step(name):
    ps = parameters((3,))
    optimiser = OPTIMISERS[name](ps, 0.1, (0.9, 0.999))
    assert [group["lr"] for group in optimiser.param_groups] == [0.1]
    ps[0].square().sum().backward()
    (moved,) = moves(optimiser, ps)
    assert (moved * ps[0].grad < 0).all()


@pytest.mark.parametrize("missing", [None, 0, 2])
def test_adam_is_torchs_fused_adam_and_moves_as_the_plain_loop_does(missing):
    """Also where the rate changes, and where a parameter has no gradient in one of the steps."""
    ours = OPTIMISERS["adam"](parameters((4, 3), (5,)), 0.01, (0.9, 0.99))
    theirs = torch.optim.Adam(parameters((4, 3), (5,)), 0.01, betas=(0.9, 0.99), fused=True)
    plain = torch.optim.Adam(parameters((4, 3), (5,)), 0.01, betas=(0.9, 0.99), foreach=False, fused=False)
    for step in range(5):
        for optimiser in (ours, theirs, plain):
            group = optimiser.param_groups[0]
            group["lr"] = 0.01 / (1 + step)
            optimiser.zero_grad()
            for p in group["params"][: 1 if step == missing else 2]:
                ((p - step) ** 4).sum().backward()
            optimiser.step()
    every = zip(*(optimiser.param_groups[0]["params"] for optimiser in (ours, theirs, plain)), strict=True)
    for p, q, r in every:
        assert torch.equal(p, q)
        torch.testing.assert_close(p, r, rtol=1e-12, atol=0)
