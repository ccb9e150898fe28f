"""Derivatives by rules against automatic differentiation of the same network, values and every gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from ebmark.activations import activation
from ebmark.api import Energy, Network, Rng
from ebmark.base import Path, fit_base
from ebmark.derivatives import Along, Derived, derive
from ebmark.meter import Passes
from ebmark.methods.recovery import _Conditional, _Head
from ebmark.methods.tre import Telescope
from ebmark.modules import GaussianBase, perceptron, stacked
from ebmark.networks.chain import Chain
from ebmark.networks.experts import Experts
from ebmark.networks.mixture_weights import MixtureWeights
from ebmark.networks.mlp import MLP, Perceptron
from ebmark.networks.quadratic import QuadraticNetwork
from ebmark.ops import score, score_and_curve, score_and_trace, value_and_gradient

ACTIVATIONS = ("silu", "softplus", "tanh")
NETWORKS: list[Network] = [
    *(MLP(width=7, depth=depth, activation=a) for depth in (1, 2, 3) for a in ACTIVATIONS),
    MLP(width=5, base=False),
    *(Chain(width=6, depth=depth, activation=a) for depth, a in ((1, "silu"), (2, "tanh"))),
    Experts(),
    Experts(experts=9),
    *(Experts(shape="free", width=5, activation=a) for a in ACTIVATIONS),
    Experts(shape="free", experts=8, width=4, depth=1),
    QuadraticNetwork(),
    QuadraticNetwork(base=True),
    MixtureWeights(m=1.5),
]
SHAPES = ((), (6,), (2, 3))
EXACT = {"rtol": 1e-10, "atol": 1e-10}


class Plain(nn.Module):
    """The same energy without a rule."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


def stream(*key: object) -> Rng:
    return Rng.of("test_derivatives", *key, dtype=torch.float64)


def built(network: Network, d: int, seed: int = 0, **more: int) -> nn.Module:
    rng = stream(repr(network), d, seed)
    module = network.build(1.3 * rng.split("data").normal((200, d)) + 0.4, rng.split("weights"), **more)
    with torch.no_grad():  # away from symmetries of the start
        for p in module.parameters():
            p.add_(0.1 * rng.normal(p.shape))
    return module


def every_output(energy: Energy, x: Tensor, v: Tensor) -> dict[str, Tensor]:
    s, trace = score_and_trace(energy, x)
    along, curvature = score_and_curve(energy, x, v)
    outputs = {"score": score(energy, x), "s": s, "trace": trace, "along": along, "curvature": curvature}
    E, gradient = value_and_gradient(energy, x)
    return outputs | {"E": E, "gradient": gradient}


def pulled_back(outputs: dict[str, Tensor], wanted: list[Tensor], rng: Rng) -> list[Tensor | None]:
    """The gradient of a random combination of everything that has one."""
    kept = [t for t in outputs.values() if t.requires_grad]
    total = sum((t * rng.normal(t.shape)).sum() + t.square().sum() for t in kept)
    return list(torch.autograd.grad(total, wanted, allow_unused=True))


def assert_same(module: nn.Module, x: Tensor, v: Tensor) -> None:
    """Every operator's output, and its gradient in the parameters and where x requires it in x."""
    fast, slow = Energy(module), Energy(Plain(module))
    assert fast.ruled
    assert not slow.ruled
    by_rule, by_autograd = every_output(fast, x, v), every_output(slow, x, v)
    for name, value in by_autograd.items():
        torch.testing.assert_close(by_rule[name], value, msg=lambda m, name=name: f"{name}: {m}", **EXACT)
    names, wanted = zip(*module.named_parameters(), strict=True)
    wanted = [*wanted, *([x] if x.requires_grad else [])]
    found, expected = (pulled_back(out, wanted, stream("weights")) for out in (by_rule, by_autograd))
    for name, f, e in itertools.zip_longest(names, found, expected, fillvalue="x"):
        assert (f is None) == (e is None) or not (f if e is None else e).any(), name
        if f is not None and e is not None:
            torch.testing.assert_close(f, e, msg=lambda m, name=name: f"{name}: {m}", **EXACT)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_rules_equal_autograd(network):
    for d, shape, requires in itertools.product((1, 2, 5), SHAPES, (False, True)):
        rng = stream("points", d, len(shape))
        x = 1.5 * rng.normal((*shape, d))
        assert_same(built(network, d), x.requires_grad_(requires), rng.normal((3, *shape, d)))


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_rules_without_gradients_equal_autograd(network):
    """Under no_grad the gradient takes another path through the layers."""
    module, rng = built(network, 4), stream("no_grad")
    x, v = 2 * rng.normal((9, 4)), rng.normal((2, 9, 4))
    with torch.no_grad():
        by_rule, by_autograd = (every_output(Energy(m), x, v) for m in (module, Plain(module)))
    for name, value in by_autograd.items():
        assert not by_rule[name].requires_grad
        torch.testing.assert_close(by_rule[name], value, **EXACT)


@pytest.mark.parametrize("network", [n for n in NETWORKS if n.many_heads], ids=repr)
def test_several_heads_are_added_or_weighed(network):
    module, rng = built(network, 3, heads=4), stream("heads")
    x, v = rng.normal((2, 5, 3)), rng.normal((2, 2, 5, 3))
    assert_same(module, x, v)
    w = rng.normal((2, 5, 4))
    y = x.clone().requires_grad_()
    E = (module(y) * w).sum(-1)
    (gradient,) = torch.autograd.grad(E.sum(), y)
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            found = module.derive(x, None, w)
        torch.testing.assert_close(found.value, E, **EXACT)
        torch.testing.assert_close(found.gradient, gradient, **EXACT)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_runs_side_by_side_have_the_derivatives_of_each(network):
    modules = [built(network, 3, seed) for seed in range(3)]
    together, rng = stacked(modules), stream("stacked")
    for shape in ((4,), (2, 4)):
        x, v = rng.normal((3, *shape, 3)), rng.normal((2, 3, *shape, 3))
        found = every_output(Energy(together), x, v)
        each = [every_output(Energy(m), x[i], v[:, i]) for i, m in enumerate(modules)]
        for name, value in found.items():
            run = 1 if name == "curvature" else 0
            alone = torch.stack([e[name] for e in each], run)
            torch.testing.assert_close(value, alone, rtol=1e-12, atol=1e-12)
        total = sum(t.square().sum() for t in found.values() if t.requires_grad)
        total_alone = sum(t.square().sum() for e in each for t in e.values() if t.requires_grad)
        names = [name for name, _ in together.named_parameters()]
        grads = torch.autograd.grad(total, [*together.parameters()], allow_unused=True)
        alone = torch.autograd.grad(
            total_alone, [m.get_parameter(n) for n in names for m in modules], allow_unused=True
        )
        for name, gradient, *own in zip(names, grads, *(alone[i::3] for i in range(3)), strict=True):
            if gradient is not None:
                own = [torch.zeros_like(gradient[0]) if g is None else g for g in own]
                torch.testing.assert_close(
                    gradient, torch.stack(own), rtol=1e-11, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}"
                )


@pytest.mark.parametrize("network", [MLP(width=5, depth=2), Chain(width=4), Experts(shape="free", width=4)])
def test_rules_can_be_differentiated_twice_more(network):
    """A user may build second derivatives on the score itself: sliced score matching by hand."""
    module, rng = built(network, 3), stream("twice")
    x, v = rng.normal((6, 3)).requires_grad_(), rng.normal((6, 3))
    found = []
    for m in (module, Plain(module)):
        s = score(Energy(m), x)
        (product,) = torch.autograd.grad((s * v).sum(), x, create_graph=True)
        loss = ((product * v).sum(-1) + 0.5 * s.square().sum(-1)).mean()
        found.append((loss, *torch.autograd.grad(loss, [*m.parameters()], allow_unused=True)))
    for f, e in zip(*found, strict=True):
        if e is not None:
            torch.testing.assert_close(f, e, **EXACT)


@pytest.mark.parametrize("module", [nn.SiLU(), nn.Softplus(), nn.Tanh()], ids=str)
def test_derivatives_of_activations(module):
    z = torch.linspace(-30, 30, 401, dtype=torch.float64, requires_grad=True)
    σ = activation(module)
    expected = [module(z)]
    for _ in range(3):
        (next_one,) = torch.autograd.grad(expected[-1].sum(), z, create_graph=True)
        expected.append(next_one)
    y = σ.value(z).detach()
    assert torch.equal(σ.into(z.detach(), out=torch.empty_like(y)), y)
    for order in (2, 3):
        found = σ.derivatives(z.detach(), y, order)
        for f, value in zip(found, expected[1 : order + 1], strict=True):
            torch.testing.assert_close(f, value.detach(), rtol=1e-12, atol=1e-12)
    g = stream("pull").normal(z.shape)
    torch.testing.assert_close(σ.pull(g, *σ.keep(z.detach().clone())), (g * expected[1]).detach())
    assert torch.equal(y, expected[0])


class WithoutCurvature(nn.Module):
    """A rule for the gradient alone."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.module(x)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        E = derive(self.module, x)
        return Derived(2 * E.value, 2 * E.gradient, None)


def composed() -> list[nn.Module]:
    """Energies that methods and the evaluation make of others."""
    rng = stream("composed")
    mlp, heads = built(MLP(width=5), 3), built(MLP(width=5), 3, heads=4)
    level, s = rng.integers(4, (6,)), 0.5 + rng.uniform((6, 1))
    tril = torch.eye(3).double() + rng.normal((3, 3)).tril(-1)
    base = fit_base(rng.normal((300, 3)), rng)
    return [
        WithoutCurvature(mlp),
        _Head(heads, level, 4),
        _Conditional(_Head(heads, level, 4), s, rng.normal((6, 3))),
        Telescope(heads, rng.normal((3,)), tril),
        Path(mlp, base, Energy(mlp).meter).at(0.3).module,
    ]


@pytest.mark.parametrize("module", composed(), ids=lambda m: type(m).__name__)
def test_energies_made_of_others_have_rules_too(module):
    rng = stream("made of others")
    x, v = rng.normal((6, 3)), rng.normal((2, 6, 3))
    assert_same(module, x, v)
    energy, plain = Energy(module), Energy(Plain(module))
    for e in (energy, plain):
        score_and_trace(e, x)
        e.meter.commit()
    assert energy.meter.passes == plain.meter.passes


# ------------------------------------------------------------------------------------------- who has no rule


class Doubled(Perceptron):
    """A subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Twice(nn.Linear):
    """A layer with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def layers(*more: nn.Module) -> nn.Sequential:
    made = perceptron(
        3, width=4, depth=2, activation="silu", gain=1.0, like=torch.zeros(0).double(), rng=stream("layers")
    )
    return nn.Sequential(*more, *made) if more else made


def hooked(module: nn.Module) -> nn.Module:
    module.layers[2].register_forward_hook(lambda m, args, out: 3 * out)
    return module


def replaced(module: nn.Module) -> nn.Module:
    module.forward = lambda x: 2 * module.layers(x).squeeze(-1)
    return module


@pytest.mark.parametrize(
    "module",
    [
        Doubled(layers()),
        GaussianBase(Doubled(layers()), stream("data").normal((50, 3))),
        Perceptron(layers(Twice(3, 3).double(), nn.Tanh())),
        Perceptron(
            layers(nn.Linear(3, 4).double(), nn.Softplus(beta=2), nn.Linear(4, 3).double(), nn.SiLU())
        ),
        Perceptron(layers(nn.Linear(3, 5).double(), nn.SiLU(), nn.Linear(5, 3).double(), nn.SiLU())),
        Perceptron(layers(nn.Linear(3, 4).double(), nn.Tanh(), nn.Linear(4, 3).double(), nn.SiLU())),
        Perceptron(layers(nn.Linear(3, 3).double(), nn.GELU())),
        Perceptron(layers(nn.Linear(3, 3, bias=False).double(), nn.Tanh())),
        Perceptron(layers(nn.LayerNorm(3).double())),
        hooked(Perceptron(layers())),
        replaced(Perceptron(layers())),
        Plain(Perceptron(layers())),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_has_no_rule_is_left_to_autograd(module):
    energy, plain = Energy(module), Energy(Plain(module))
    assert not energy.ruled
    rng = stream("fallback")
    x, v = rng.normal((4, 3)), rng.normal((2, 4, 3))
    found, expected = every_output(energy, x, v), every_output(plain, x, v)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    hessian = torch.autograd.functional.hessian(lambda y: module(y[None])[0], x[0])
    torch.testing.assert_close(found["trace"][0], -hessian.trace())


def test_a_hook_that_comes_later_is_seen():
    module = Perceptron(layers())
    energy, x = Energy(module), stream("later").normal((4, 3))
    assert energy.ruled
    before = score(energy, x)
    handle = module.register_forward_hook(lambda m, args, out: 3 * out)
    torch.testing.assert_close(score(energy, x), 3 * before)
    handle.remove()
    assert torch.equal(score(energy, x), before)


# ------------------------------------------------------------------------------------------------- the counts


@pytest.mark.parametrize(
    ("network", "trace", "curve"),
    [
        (MLP(width=4), 5, 3),
        (Chain(width=4), 2, 3),
        (Experts(shape="free", width=4), 1, 1),
        (Experts(), 0, 3),
        (QuadraticNetwork(), 0, 3),
        (MixtureWeights(), 0, 0),
        (MLP(width=4, activation="relu"), 2 * 5, 2 * 3),
    ],
    ids=repr,
)
def test_work_is_counted_as_plain_autograd_does_it_and_as_executed(network, trace, curve):
    d, n, M = 5, 7, 3
    energy = Energy(built(network, d))
    x = stream("x").normal((n, d))
    for operator, directions, tangents in (
        (lambda: score(energy, x), 0, 0),
        (lambda: score_and_trace(energy, x), d, trace),
        (lambda: score_and_curve(energy, x, x.expand(M, n, d)), M, curve),
    ):
        before, done = energy.meter.passes, energy.meter.executed
        operator()
        energy.meter.commit()
        plain = Passes(forward=1, input_gradient=1, second_order=2 * directions, backward=4 + 4 * directions)
        assert energy.meter.passes == before + n * plain
        assert energy.meter.executed - done == n * 3 * (2 + tangents)
    before, done = energy.meter.passes, energy.meter.executed
    value_and_gradient(energy, x)
    energy.meter.commit()
    assert energy.meter.passes == before + n * Passes(forward=1, input_gradient=1)
    assert energy.meter.executed - done == 2 * n
