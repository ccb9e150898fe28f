"""The networks: shapes, derivatives, heads, and the families that hold their target exactly."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ebmark import registry
from ebmark.api import Network, Rng
from ebmark.datasets.gaussian import Gaussian
from ebmark.datasets.gaussian_pairs import GaussianPairs
from ebmark.datasets.ica import ICA
from ebmark.datasets.two_modes import TwoModes
from ebmark.errors import SpecError
from ebmark.modules import perceptron, stacked
from ebmark.networks.chain import Chain
from ebmark.networks.conv import Conv
from ebmark.networks.experts import Experts
from ebmark.networks.mixture_weights import MixtureWeights
from ebmark.networks.mlp import MLP
from ebmark.networks.quadratic_form import Forms

DEFAULTS: list[Network] = [registry.make(registry.ref("network", name)) for name in registry.names("network")]
VARIANTS = [
    MLP(activation="softplus", base=False),
    Chain(depth=1, activation="tanh"),
    Conv(channels=4, depth=3, activation="tanh", base=False),
    Experts(experts=12),
    Experts(shape="free"),
    Experts(shape="free", experts=11, depth=1, activation="softplus"),
    MixtureWeights(m=0.5, start=0.9, gain=1.0),
]
NETWORKS = [*DEFAULTS, *VARIANTS]
D = 9  # a square, so that every network can be built


def stream(*key: object, dtype: torch.dtype = torch.float64) -> Rng:
    return Rng.of("test_networks", *key, dtype=dtype)


def rows(n: int, d: int = D, dtype: torch.dtype = torch.float64) -> Tensor:
    return 1.3 * stream("rows", d, dtype=dtype).normal((n, d)) + 0.4


def built(
    network: Network, d: int = D, dtype: torch.dtype = torch.float64, key: object = "weights", **heads: int
) -> nn.Module:
    target = {"dataset": Gaussian(dim=d)} if network.of_target else {}
    return network.build(rows(300, d, dtype), stream(key, dtype=dtype), **target, **heads)


def integral(module: nn.Module, d: int, edge: float, points: int = 1201) -> float:
    """The log of the integral of exp(-E) over [-edge, edge]^d, by the trapezoidal rule."""
    axis = torch.linspace(-edge, edge, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    with torch.no_grad():
        return (-module(grid)).logsumexp(0).item() + d * math.log((axis[1] - axis[0]).item())


# ---------------------------------------------------------------------------------------------- every network


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_energy_keeps_leading_dimensions_and_dtype(network):
    for dtype in (torch.float32, torch.float64):
        module = built(network, dtype=dtype)
        x = rows(12, dtype=dtype)
        E = module(x)
        assert E.shape == (12,)
        assert E.dtype == dtype
        assert all(t.dtype == dtype for t in module.state_dict().values())
        assert E.isfinite().all()
        accuracy = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
        torch.testing.assert_close(module(x.reshape(3, 1, 4, D)), E.reshape(3, 1, 4), **accuracy)
        torch.testing.assert_close(module(x[5]), E[5], **accuracy)
        assert module(x[:0]).shape == (0,)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_energy_has_two_derivatives_and_every_parameter_moves_it(network):
    assert network.smooth
    module = built(network)
    x = rows(6).requires_grad_()
    assert torch.autograd.gradcheck(module, x)
    assert torch.autograd.gradgradcheck(module, x, atol=1e-4)
    (g,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    grads = torch.autograd.grad(module(x).sum() + g.square().sum(), [*module.parameters()])
    assert all(grad.isfinite().all() and grad.any() for grad in grads)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_weights_follow_the_stream_and_nothing_else(network):
    first, again = built(network).state_dict(), built(network).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = built(network, key="other").state_dict()
    fixed = network.name in ("quadratic", "mixture_weights", "truth")
    assert fixed == all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_parameters_of_many_runs_stack(network):
    modules = [built(network, key=i) for i in range(3)]
    parameters, buffers = stack_module_state(modules)
    x = rows(12).reshape(3, 4, D)

    def energy(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(modules[0], (p, b), (x,))

    together = vmap(energy)(parameters, buffers, x)
    alone = torch.stack([module(x[i]) for i, module in enumerate(modules)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("shape", [(4,), (2, 5)])
@pytest.mark.parametrize("heads", [None, 3])
@pytest.mark.parametrize("network", [n for n in NETWORKS if n.name != "conv"], ids=repr)
def test_runs_side_by_side_equal_each_alone(network, heads, shape):
    """A leading dimension of parameters, buffers and x: values and every gradient, to rounding."""
    more = {"heads": heads} if heads and network.many_heads else {}
    if network.of_target:
        more["dataset"] = Gaussian(dim=D)
    modules = [network.build((1 + i) * rows(300), stream("weights", i), **more) for i in range(3)]
    together = stacked(modules)
    x = stream("x").normal((3, *shape, D))
    E = together(x)
    alone = torch.stack([module(x[i]) for i, module in enumerate(modules)])
    torch.testing.assert_close(E, alone, rtol=1e-12, atol=1e-12)
    E.square().sum().backward()
    alone.square().sum().backward()
    for name, p in together.named_parameters():
        each = torch.stack([module.get_parameter(name).grad for module in modules])
        torch.testing.assert_close(p.grad, each, rtol=1e-12, atol=1e-12)
    if network.known_z:
        each = torch.stack([module.log_z() for module in modules])
        torch.testing.assert_close(together.log_z(), each, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_log_z_is_there_where_it_is_declared(network):
    module = built(network)
    assert network.known_z == hasattr(module, "log_z") or isinstance(network, Experts)
    if network.known_z:
        assert module.log_z().shape == ()
        assert module.log_z().dtype == torch.float64


# ------------------------------------------------------------------------------------------------------ heads


@pytest.mark.parametrize("network", [n for n in NETWORKS if n.many_heads], ids=repr)
def test_several_heads_share_a_trunk(network):
    module = built(network, heads=5)
    x = rows(12)
    E = module(x)
    assert E.shape == (12, 5)
    torch.testing.assert_close(module(x.reshape(3, 1, 4, D)), E.reshape(3, 1, 4, 5))
    torch.testing.assert_close(module(x[3]), E[3])
    assert torch.linalg.matrix_rank(E - E.mean(0)) == 5
    one, five = (sum(p.numel() for p in m.parameters()) for m in (built(network), module))
    last = [*built(network).parameters()][-2:]
    assert five - one == 4 * sum(p.numel() for p in last)


@pytest.mark.parametrize("network", [n for n in NETWORKS if n.many_heads], ids=repr)
def test_one_head_is_the_network_without_heads(network):
    one, plain = built(network, heads=1), built(network)
    assert one.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(one(rows(12)), plain(rows(12)))


@pytest.mark.parametrize("network", [Conv(channels=4), MLP(width=8), Chain(width=8)], ids=repr)
def test_each_head_has_the_base_term(network):
    bare = type(network)(**{**vars(network), "base": False})
    x = 1000 * rows(4)
    base = built(network, heads=3)(x) - built(bare, heads=3)(x)
    torch.testing.assert_close(base, base[:, :1].expand(-1, 3))
    assert (base > 1e4).all()


def test_networks_that_take_heads_or_the_target_say_so():
    for network in DEFAULTS:
        taken = inspect.signature(network.build).parameters
        assert (network.many_heads, network.of_target) == ("heads" in taken, "dataset" in taken)
    assert {n.name for n in DEFAULTS if n.many_heads} >= {"mlp", "chain", "conv"}


def test_a_perceptron_draws_as_it_always_did():
    """Weights, then biases, layer by layer: earlier results were trained from these."""
    like = torch.empty(0)
    layers = perceptron(
        2, width=3, depth=1, activation="silu", gain=1.5, like=like, rng=Rng.of("pinned weights")
    )
    rng = Rng.of("pinned weights")
    expected = [rng.normal((3, 2)) * (1.5 / math.sqrt(2)), (2 * rng.uniform((3,)) - 1) / math.sqrt(2)]
    expected += [rng.normal((1, 3)) * (1 / math.sqrt(3)), (2 * rng.uniform((1,)) - 1) / math.sqrt(3)]
    assert all(torch.equal(p, e) for p, e in zip(layers.parameters(), expected, strict=True))
    assert [*layers.state_dict()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


# ----------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(("side", "depth"), [(8, 2), (28, 3), (28, 2), (5, 2)])
def test_conv_takes_images_of_any_side(side, depth):
    network = Conv(channels=8, depth=depth)
    module = network.build(rows(300, side**2, torch.float32), stream("weights", dtype=torch.float32))
    E = module(rows(6, side**2, torch.float32).reshape(2, 3, -1))
    assert E.shape == (2, 3)
    assert E.isfinite().all()


def test_conv_sees_rows_of_pixels_and_its_gain_keeps_the_scale():
    """The first layer acts on neighbours; a constant gain neither fades nor explodes with depth."""
    module = Conv(channels=4, base=False).build(rows(300, 64), stream("weights")).layers
    x = torch.zeros(1, 64, dtype=torch.float64)
    y = x.clone()
    y[0, 8 * 5 + 2] = 1.0  # row 5, column 2
    change = (module[0](y.reshape(1, 1, 8, 8)) - module[0](x.reshape(1, 1, 8, 8)))[0].abs().sum(0)
    assert {tuple(i) for i in change.nonzero().tolist()} == {(2, 1), (3, 1)}
    deep = Conv(base=False, depth=3).build(rows(300, 64), stream("weights"))
    assert 0.1 < deep(rows(300, 64)).std() < 10


@pytest.mark.parametrize("d", [2, 63, 785])
def test_conv_refuses_what_is_no_square(d):
    with pytest.raises(SpecError) as error:
        Conv().build(rows(10, d), stream("weights"))
    assert str(error.value) == f"conv: data of dimension {d} given; allowed: a square such as 64 or 784"


# ---------------------------------------------------------------------------------------------------- experts


@pytest.mark.parametrize("d", [1, 2])
def test_log_z_of_logistic_experts_against_quadrature(d):
    module = Experts().build(rows(300, d), stream("weights"))
    with torch.no_grad():
        module.W += 0.2 * stream("change").normal((d, d))
        module.b += 0.3
    assert module.log_z().item() == pytest.approx(integral(module, d, 60.0), abs=1e-6)
    (gradient,) = torch.autograd.grad(module.log_z(), module.W)
    torch.testing.assert_close(gradient, -torch.linalg.inv(module.W).mT)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_logistic_experts_hold_the_truth_of_ica(d):
    target = ICA(dim=d)
    module = Experts().build(target.sample(500, stream("ica")), stream("weights"))
    with torch.no_grad():
        module.W.copy_(target.unmixing.mT)
        module.b.zero_()
    x = 2 * target.sample(200, stream("points"))
    torch.testing.assert_close(-module(x) - module.log_z(), target.log_prob(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("network", [Experts(experts=4), Experts(shape="free")], ids=repr)
def test_experts_without_a_known_z_are_normalisable(network):
    assert network.normalisable
    assert not network.known_z
    module = network.build(rows(300, 2), stream("weights"))
    assert integral(module, 2, 20.0, 201) == pytest.approx(integral(module, 2, 30.0, 301), abs=1e-6)


def test_free_experts_are_a_sum_over_projections():
    """E along one projection changes by the same amount wherever the others stand."""
    module = Experts(shape="free").build(rows(300, 3), stream("weights"))
    directions = torch.linalg.inv(module.W).mT  # row i moves s_i alone
    x = rows(20, 3)
    for i, j in ((0, 1), (1, 2), (0, 2)):
        a, b = 0.7 * directions[i], -1.1 * directions[j]
        torch.testing.assert_close(module(x + a + b) + module(x), module(x + a) + module(x + b))
        assert (module(x + a) - module(x)).std() > 1e-3


@pytest.mark.parametrize("shape", ["logistic", "free"])
@pytest.mark.parametrize("experts", [None, 12])
def test_experts_start_orthogonal_at_the_scale_of_the_data(shape, experts):
    data = 30 * stream("far").normal((5000, 6)) + 100
    module = Experts(shape=shape, experts=experts).build(data, stream("weights"))
    assert torch.linalg.cond(module.W).item() == pytest.approx(1)
    s = data @ module.W.mT + module.b
    assert s.mean(0).abs().max() < 1e-8
    expected = math.pi / math.sqrt(3) if shape == "logistic" else 1
    assert s.var(0).mean().sqrt().item() == pytest.approx(expected, rel=1e-6)


def test_experts_fewer_than_dimensions_are_refused():
    with pytest.raises(SpecError) as error:
        Experts(experts=3).build(rows(10, 4), stream("weights"))
    assert str(error.value) == "experts.experts: 3 given; allowed: at least the data's dimension, 4"


def test_facts_of_experts_follow_their_settings():
    assert Experts().known_z
    assert Experts(activation="relu").smooth
    assert not Experts(shape="free", activation="relu").smooth
    assert not Experts(shape="free").known_z


# -------------------------------------------------------------------------------------------- mixture weights


@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("m", [0.0, 1.0, 5.0])
def test_mixture_weights_hold_two_modes(d, m):
    target = TwoModes(dim=d, m=m, weight=0.2)
    x = 1.5 * target.sample(200, stream("two modes"))
    module = MixtureWeights(m=m, start=0.2).build(x, stream("weights"))
    torch.testing.assert_close(module(x), -target.log_prob(x), rtol=1e-12, atol=1e-12)
    assert [p.numel() for p in module.parameters()] == [1]


@pytest.mark.parametrize(("d", "m"), [(1, 0.0), (1, 3.0), (2, 1.0), (2, 5.0)])
def test_mixture_weights_are_normalised(d, m):
    module = MixtureWeights(m=m).build(rows(10, d), stream("weights"))
    assert integral(module, d, m + 10) == pytest.approx(0, abs=1e-10)
    assert module.log_z().item() == 0.0


def test_mixture_weights_start_away_from_the_truth():
    assert MixtureWeights().start != TwoModes().weight
    assert MixtureWeights().m == TwoModes().m


# ------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (MLP, {"width": 0}, "mlp.width: 0 given; allowed: at least 1"),
        (Chain, {"depth": 0}, "chain.depth: 0 given; allowed: at least 1"),
        (Conv, {"channels": 0}, "conv.channels: 0 given; allowed: at least 1"),
        (Conv, {"depth": 0}, "conv.depth: 0 given; allowed: at least 1"),
        (
            Conv,
            {"activation": "sin"},
            "conv.activation: 'sin' given; allowed: silu, softplus, tanh, relu",
        ),
        (Experts, {"experts": 0}, "experts.experts: 0 given; allowed: at least 1"),
        (Experts, {"shape": "student"}, "experts.shape: 'student' given; allowed: logistic, free"),
        (Experts, {"width": 0}, "experts.width: 0 given; allowed: at least 1"),
        (
            MixtureWeights,
            {"m": -1.0},
            "mixture_weights.m: -1.0 given; allowed: a finite number of at least 0",
        ),
        (MixtureWeights, {"start": 1.0}, "mixture_weights.start: 1.0 given; allowed: above 0 and below 1"),
        (MixtureWeights, {"gain": 0.0}, "mixture_weights.gain: 0.0 given; allowed: a finite positive number"),
    ],
)
def test_settings_out_of_range_are_one_line(cls, settings, message):
    with pytest.raises(SpecError) as error:
        cls(**settings)
    assert str(error.value) == message


# ------------------------------------------------------------------------------------------- quadratic forms


def test_a_quadratic_form_holds_the_ratio_of_correlated_to_independent_gaussians():
    """Its logarithm has both signs of curvature: no Gaussian's energy is it."""
    target = GaussianPairs(dim=6)
    x = target.sample(200, stream("pairs"))
    rho = target.rho
    block = torch.tensor([[1, -rho], [-rho, 1]], dtype=torch.float64) / (1 - rho**2)
    exact = torch.block_diag(block, block, block)
    A = exact - torch.eye(6, dtype=torch.float64)
    module = Forms(A[None], torch.zeros(1, 6, dtype=torch.float64))
    ratio = target.log_prob(x) + 0.5 * (x.square().sum(-1) + 6 * math.log(2 * math.pi))
    torch.testing.assert_close(-module(x) + target.information, ratio, rtol=1e-10, atol=1e-10)
    assert torch.linalg.eigvalsh(A).min() < -0.4 < 0.4 < torch.linalg.eigvalsh(A).max()
