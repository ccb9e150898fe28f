"""The conformance test of a method: structure, and the mathematics that it declares.

The heart is a z-test on Gaussian data N(mu, v I) with the one-parameter energy E = k|x - mu|²/2. Everything
else of the method stands at its exact best response (``Method.at_gaussian``). Over 400 independent replicates
the mean gradient of the loss in k must vanish at the declared minimiser, be negative below it and positive
above it.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Energy, Meter, Method, Network, Rng, State
from ebmark.modules import perceptron

REPLICATES = 400
BATCH = 1024
VARIANCE = 1.7
MEAN = (0.5, -1.0)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        what: the check, with the settings it was made at.
        ok: whether it passed.
        found: what was measured against what was declared, and the likely fault where it failed.
    """

    what: str
    ok: bool
    found: str


class IsotropicGaussian(nn.Module):
    """E(x) = k |x - mu|²/2 with k ``(...)`` for x ``(..., n, d)``."""

    mu: Tensor

    def __init__(self, mu: Tensor, k: Tensor) -> None:
        super().__init__()
        self.register_buffer("mu", mu)
        self.k = nn.Parameter(k.clone())

    def forward(self, x: Tensor) -> Tensor:
        """E(x) ``(..., n)`` of x ``(..., n, d)``."""
        return 0.5 * self.k[..., None] * (x - self.mu).square().sum(-1)


def check(cls: type[Method]) -> Iterator[Finding]:
    """Every check of a method class, lazily, in the order of cost."""
    for method in cls.examples(VARIANCE):
        for one in (_pickles, _counts, _reproduces, _reaches, _broadcasts, _saves):
            yield _guarded(one, method)
        yield from _z_tests(method)
    yield _guarded(_refuses, cls.examples(VARIANCE)[0])


def _guarded(one: Callable[[Method], Finding], method: Method) -> Finding:
    try:
        return one(method)
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; that is the finding
        name = one.__name__.strip("_")
        return Finding(what=f"{method!r}: {name}", ok=False, found=f"{type(error).__name__}: {error}")


# ------------------------------------------------------------------------------------------- mathematics


def gradients(method: Method, k: float, *, replicates: int = REPLICATES) -> dict[str, Tensor]:
    """Raw gradients ``(replicates,)`` of the energy's loss in k and in each learned constant."""
    mu = torch.tensor(MEAN, dtype=torch.float64)
    module = IsotropicGaussian(mu, torch.full((replicates,), k, dtype=torch.float64))
    state = method.at_gaussian(mu, VARIANCE, module.k.detach())
    rng = Rng.of("conformance", repr(method), k, dtype=torch.float64).stack(replicates)
    x = mu + math.sqrt(VARIANCE) * rng.split("data").normal((replicates, BATCH, len(mu)))
    step = method.step(Energy(module), x, state, rng)
    own = dict(state.params["energy"].named_parameters()) if "energy" in state.params else {}
    wanted = {"k": module.k, **own}
    found = torch.autograd.grad(step.losses["energy"].sum(), list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


def z_score(gradient: Tensor) -> tuple[float, float, float]:
    """Mean, its standard error, and their ratio (0 for a gradient that vanishes identically)."""
    mean, se = gradient.mean().item(), gradient.std().item() / math.sqrt(len(gradient))
    return mean, se, mean / se if se > 1e-12 else math.copysign(math.inf, mean) if abs(mean) > 1e-8 else 0.0


def _z_tests(method: Method) -> Iterator[Finding]:
    best = method.gaussian_precision(VARIANCE)
    for factor in (1.0, 0.8, 1.25):
        try:
            found = gradients(method, factor * best)
        except Exception as error:  # noqa: BLE001  # as above
            yield Finding(what=f"{method!r}: gradient", ok=False, found=f"{type(error).__name__}: {error}")
            return
        for name, gradient in found.items():
            if name == "k" or factor == 1.0:
                yield _verdict(method, name, factor, best, gradient)


def _verdict(method: Method, name: str, factor: float, best: float, gradient: Tensor) -> Finding:
    mean, se, z = z_score(gradient)
    if factor == 1.0:
        ok, wanted = abs(mean) <= 4 * se + 1e-8, "|z| <= 4"
    else:
        ok, wanted = (z < -4, "z < -4") if factor < 1 else (z > 4, "z > 4")
    where = f"{factor:g} x {best:.5g}" if name == "k" else "its optimum"
    found = f"gradient {mean:.3g} ± {se:.2g}, z = {z:.1f}, expected {wanted}"
    return Finding(
        what=f"{method!r}: gradient in {name} at {where}",
        ok=ok,
        found=found if ok else f"{found}; {_likely_fault(name, factor, z)}",
    )


def _likely_fault(name: str, factor: float, z: float) -> str:
    if name != "k":
        return "a term of the normaliser is missing (log nu, or a factor of the noise's density)"
    if factor != 1.0 and abs(z) > 4:
        return "the sign is inverted: s = -grad E, p proportional to exp(-E)"
    if factor != 1.0:
        return "the gradient does not see k: a detached term, or a wrong factor"
    return "the minimiser is not the declared one: a wrong factor, or an undeclared bias"


# --------------------------------------------------------------------------------------------- structure


class _Small(nn.Module):
    """A smooth network without structure: 3 -> 8 -> 1."""

    def __init__(self, d: int, rng: Rng) -> None:
        super().__init__()
        like = torch.empty(0, dtype=torch.float64)
        self.f = perceptron(d, width=8, depth=1, activation="silu", gain=1.0, like=like, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        E: Tensor = self.f(x)
        return E.squeeze(-1) + 0.05 * x.square().sum(-1)


def _small_run(method: Method, d: int = 3, n: int = 16) -> tuple[_Small, Energy, Tensor, State, Rng]:
    rng = Rng.of("structure", d, dtype=torch.float64)
    module = _Small(d, rng.split("network"))
    data = rng.split("fit").normal((200, d))
    state = method.init(Energy(module), data, rng.split("init"))
    return module, Energy(module, Meter()), data[:n], state, rng.split("loss")


def _parameters(module: nn.Module, state: State) -> list[tuple[str, nn.Parameter]]:
    named = [(f"network.{name}", p) for name, p in module.named_parameters()]
    for who, own in state.params.items():
        named += [(f"{who}.{name}", p) for name, p in own.named_parameters()]
    return named


def _pickles(method: Method) -> Finding:
    same = pickle.loads(pickle.dumps(method)) == method
    return Finding(what=f"{method!r}: pickles", ok=same, found="equal" if same else "the copy differs")


def _counts(method: Method) -> Finding:
    for d in (2, 5):
        _, energy, x, state, rng = _small_run(method, d)
        for loss in method.step(energy, x, state, rng).losses.values():
            torch.autograd.backward([loss.sum()], retain_graph=True)
        energy.meter.commit()
        counted, declared = energy.meter.passes * (1 / len(x)), method.passes(d)
        if counted != declared:
            found = f"counted {counted}, declared {declared} at d = {d}; use the operators of ebmark.ops"
            return Finding(what=f"{method!r}: passes", ok=False, found=found)
    found = f"{method.passes(2).total:g} F at d = 2, as declared"
    return Finding(what=f"{method!r}: passes", ok=True, found=found)


def _reproduces(method: Method) -> Finding:
    def loss() -> Tensor:
        _, energy, x, state, rng = _small_run(method)
        return torch.stack(list(method.step(energy, x, state, rng).losses.values()))

    same = torch.equal(loss(), loss())
    found = "bit for bit" if same else "two runs differ; draw only from the rng that is given"
    return Finding(what=f"{method!r}: same seed, same loss", ok=same, found=found)


def _reaches(method: Method) -> Finding:
    module, energy, x, state, rng = _small_run(method)
    step = method.step(energy, x, state, rng)
    for loss in step.losses.values():
        torch.autograd.backward([loss.sum()], retain_graph=True)
    # The last bias only adds a constant to E, which cancels in every method that never sees Z.
    idle = [
        name
        for name, p in _parameters(module, state)
        if (p.grad is None or not p.grad.any()) and name != "network.f.2.bias"
    ]
    found = "every player" if not idle else f"no gradient reaches {', '.join(idle)}"
    return Finding(what=f"{method!r}: gradients reach", ok=not idle, found=found)


def _broadcasts(method: Method) -> Finding:
    mu = torch.tensor(MEAN, dtype=torch.float64)
    k = torch.tensor([0.4, 0.9], dtype=torch.float64)
    rng = Rng.of("broadcast", dtype=torch.float64).stack(2)
    x = mu + rng.split("data").normal((2, 32, 2))
    together = method.step(
        Energy(IsotropicGaussian(mu, k)), x, method.at_gaussian(mu, VARIANCE, k), rng.split("loss")
    ).losses["energy"]
    alone = []
    for i, seed in enumerate(rng.split("loss").seeds):
        state = method.at_gaussian(mu, VARIANCE, k[i])
        one = Energy(IsotropicGaussian(mu, k[i]))
        alone.append(method.step(one, x[i], state, Rng(seed, dtype=torch.float64)).losses["energy"])
    same = together.shape == (2,) and torch.allclose(together, torch.stack(alone), rtol=1e-10, atol=1e-12)
    found = "two runs in one call equal each alone" if same else f"{together} together, {alone} alone"
    return Finding(what=f"{method!r}: leading dimensions", ok=same, found=found)


def _saves(method: Method) -> Finding:
    _, energy, x, state, rng = _small_run(method)
    saved = {who: {name: p.clone() for name, p in m.state_dict().items()} for who, m in state.params.items()}
    loss = method.step(energy, x, state, rng).losses["energy"]
    _, energy, x, again, rng = _small_run(method)
    for who, module in again.params.items():
        module.load_state_dict(saved[who])
    again = again.update(**{name: b.clone() for name, b in state.buffers.items()})
    same = torch.equal(loss, method.step(energy, x, again, rng).losses["energy"])
    found = "the loss is the same" if same else "the loss differs; keep everything in params and buffers"
    return Finding(what=f"{method!r}: state saves and loads", ok=same, found=found)


class _Rough(Network):
    """Stands for a network without second derivatives."""

    name = "relu network"
    smooth = False


class _Flat(Dataset):
    """Stands for a density without a score."""

    name = "piecewise constant density"
    smooth = False
    dim = 2


def _refuses(method: Method) -> Finding:
    what = f"{method.name}: declines"
    if not method.passes(2).second_order:
        return Finding(what=what, ok=True, found="nothing to decline: no second derivatives")
    network, dataset = Network(), Dataset()
    bad = []
    if method.skip(dataset, _Rough()) is None:
        bad.append("a network without second derivatives")
    if method.skip(_Flat(), network) is None:
        bad.append("a density without a score")
    found = "networks and densities that are not smooth" if not bad else f"skip() accepts {' and '.join(bad)}"
    return Finding(what=what, ok=not bad, found=found)
