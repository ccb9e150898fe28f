"""Losses made of scores against their definitions, on an energy that is not a Gaussian's."""

import pytest
import torch

from ebmark.api import Energy, Rng
from ebmark.meter import Meter
from ebmark.ops import effective_share, energy_and_neighbours, score
from ebmark.registry import get


class Rough(torch.nn.Module):
    """A quadratic bowl with smooth ripples in eight directions."""

    def __init__(self, rng):
        super().__init__()
        self.W = torch.nn.Parameter(rng.normal((8, 3)))

    def forward(self, x):
        return (x @ self.W.T).sin().sum(-1) + 0.5 * x.square().sum(-1)


@pytest.fixture
def rng():
    return Rng.of("score losses", dtype=torch.float64)


@pytest.fixture
def energy(rng):
    return Energy(Rough(rng.split("network")), Meter())


def stein_kernel(s, x, y, length):
    """The Stein kernel of two points by automatic differentiation of the multiquadric."""

    def kernel(x, y):
        return (1 + (x - y).square().sum() / length**2) ** -0.5

    by_x, by_y = (torch.func.grad(kernel, i)(x, y) for i in (0, 1))
    mixed = torch.func.jacrev(torch.func.grad(kernel, 1), 0)(x, y).trace()
    s_x, s_y = s(x), s(y)
    return s_x @ s_y * kernel(x, y) + s_x @ by_y + s_y @ by_x + mixed


def test_ksd_is_the_mean_of_the_stein_kernel_without_its_diagonal(energy, rng):
    method = get("method", "ksd")(bandwidths=(0.5, 2.0))
    x = rng.normal((7, 3)) + 4
    state = method.init(energy, x, rng)
    assert state.buffers["lengths"].tolist() == pytest.approx(
        [f * torch.pdist(x).median().item() for f in (0.5, 2.0)]
    )
    terms = [
        stein_kernel(lambda p: score(energy, p).detach(), x[i], x[j], length)
        for length in state.buffers["lengths"]
        for i in range(7)
        for j in range(7)
        if i != j
    ]
    assert torch.allclose(method.loss(energy, x, state, rng), torch.stack(terms).mean(), atol=1e-12)


def test_finite_differences_tend_to_sliced_score_matching(energy, rng):
    x = rng.normal((50, 3))
    sliced = get("method", "ssm")().step(energy, x, None, rng.split("v")).losses["energy"]
    errors = [
        abs(get("method", "fd_ssm")(eps=eps).loss(energy, x, None, rng.split("v")) - sliced).item()
        for eps in (0.02, 0.01)
    ]
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)  # the error grows as ε²


@pytest.mark.parametrize("name", ["ssm", "ssm_vr"])
def test_many_projections_give_score_matching(name, energy, rng):
    x = rng.normal((5, 3))
    exact = get("method", "sm")().loss(energy, x, None, rng)
    found = get("method", name)(M=4000).step(energy, x, None, rng)
    se = (found.logs["projected_variance"] / (5 * 4000)).sqrt()
    assert abs(found.losses["energy"] - exact) <= 4 * se * (1 if name == "ssm_vr" else 5)


def test_projected_variance_is_that_of_the_draws(energy, rng):
    """For Rademacher v it is twice the sum of the squares off the Hessian's diagonal."""
    x = rng.normal((5, 3))
    hessians = torch.stack([torch.autograd.functional.hessian(energy.module, point) for point in x])
    off = hessians - hessians.diagonal(dim1=-2, dim2=-1).diag_embed()
    exact = 2 * off.square().sum((-2, -1)).mean()
    found = get("method", "ssm_vr")(M=4000).step(energy, x, None, rng).logs["projected_variance"]
    assert found.item() == pytest.approx(exact.item(), rel=0.1)


def test_a_ladder_of_one_level_is_plain_denoising_score_matching(energy, rng):
    x = rng.normal((5, 3))
    dsm = get("method", "dsm")
    assert dsm(sigma=0.3, levels=3, top=1.2).ladder == pytest.approx((0.3, 0.6, 1.2))
    found = dsm(sigma=0.3, top=0.3, levels=2).loss(energy, x, None, rng.split("e"))
    assert torch.allclose(found, dsm(sigma=0.3).loss(energy, x, None, rng.split("e")))


def test_neighbours_share_one_forward_and_are_counted_as_noise(energy, rng):
    x, y = rng.normal((2, 4, 3)), rng.normal((2, 4, 5, 3))
    E_x, E_y = energy_and_neighbours(energy, x, y)
    assert torch.allclose(E_x, energy.module(x))
    assert torch.allclose(E_y, energy.module(y))
    assert energy.meter.noise_samples == 40
    assert energy.meter.passes.forward == 48


def test_effective_share_of_weights():
    assert effective_share(torch.zeros(2, 5)).tolist() == pytest.approx([1, 1])
    assert effective_share(torch.tensor([0.0, -1e9, -1e9, -1e9])).item() == pytest.approx(0.25)
