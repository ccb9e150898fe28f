"""The conformance test of a method: structure here, the mathematics that it declares in ``gradient_test``."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Rng, State
from ebmark.gradient_test import (
    MEAN,
    VARIANCE,
    Finding,
    IsotropicGaussian,
    best_precisions,
    opponent_tests,
    z_tests,
)
from ebmark.rehearsal import accepted_dims, own_parameters, run_backward, small_run, whole_step


def check(cls: type[Method]) -> Iterator[Finding]:
    """Every check of a method class, lazily, in the order of cost."""
    structure = (_pickles, _counts, _reproduces, _reaches, _shapes, _broadcasts, _saves)
    for method in cls.examples(VARIANCE):
        for one in structure:
            yield from _guarded(one, method)
        yield from _guarded(z_tests, method)
        yield from _guarded(opponent_tests, method)
    yield from _guarded(_refuses, cls.examples(VARIANCE)[0])


def _guarded(test: Callable[[Method], Finding | Iterator[Finding]], method: Method) -> Iterator[Finding]:
    try:
        found = test(method)
        yield from (found,) if isinstance(found, Finding) else found
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; that is the finding
        name = test.__name__.strip("_").replace("_", " ")
        yield Finding(what=f"{method!r}: {name}", ok=False, found=f"{type(error).__name__}: {error}")


def _pickles(method: Method) -> Finding:
    same = pickle.loads(pickle.dumps(method)) == method
    return Finding(what=f"{method!r}: pickles", ok=same, found="equal" if same else "the copy differs")


def _counts(method: Method) -> Finding:
    for d in accepted_dims(method):
        module, x, state, rng = small_run(method, d)
        energy, step = whole_step(method, module, x, state, rng)
        run_backward(module, step)
        energy.meter.commit(*step.losses)
        counted, declared = energy.meter.passes * (1 / len(x)), method.passes(d)
        if counted != declared:
            found = f"counted {counted}, declared {declared} at d = {d}; use the operators of ebmark.ops"
            return Finding(what=f"{method!r}: passes", ok=False, found=found)
    found = f"{method.passes(2).total:g} F at d = 2, as declared"
    return Finding(what=f"{method!r}: passes", ok=True, found=found)


def _reproduces(method: Method) -> Finding:
    def loss() -> Tensor:
        module, x, state, rng = small_run(method)
        return torch.stack([*whole_step(method, module, x, state, rng)[1].losses.values()])

    same = torch.equal(loss(), loss())
    found = "bit for bit" if same else "two runs differ; draw only from the rng that is given"
    return Finding(what=f"{method!r}: same seed, same loss", ok=same, found=found)


def _reaches(method: Method) -> Finding:
    module, x, state, rng = small_run(method)
    _, step = whole_step(method, module, x, state, rng)
    run_backward(module, step)
    # The last bias only adds a constant to E, which cancels in every method that never sees Z.
    idle = [
        name
        for player in step.losses
        for name, p in own_parameters(module, step.state, player).items()
        if (p.grad is None or not p.grad.any()) and name != "network.f.2.bias"
    ]
    found = "every player" if not idle else f"no gradient reaches {', '.join(idle)}"
    return Finding(what=f"{method!r}: gradients reach", ok=not idle, found=found)


def _shapes(method: Method) -> Finding:
    """What the evaluation asks for: one graded energy, samples of the own generator, an own log Z."""
    module, x, state, rng = small_run(method)
    energy = Energy(module)
    with torch.no_grad():
        graded = method.graded(energy, state)(x)
        drawn = method.generate(energy, state, 7, rng)
        log_z = method.log_z(energy, state, rng)
    bad = []
    if graded.shape != x.shape[:-1]:
        bad.append(f"graded gives {tuple(graded.shape)} for x {tuple(x.shape)}")
    if drawn is not None and drawn.shape != (7, x.shape[-1]):
        bad.append(f"generate gives {tuple(drawn.shape)} for 7 points")
    if log_z is not None and log_z.shape != ():
        bad.append(f"log_z gives {tuple(log_z.shape)}, expected a number")
    return Finding(what=f"{method!r}: evaluated", ok=not bad, found="; ".join(bad) or "shapes as declared")


def _broadcasts(method: Method) -> Finding:
    mu = torch.tensor(MEAN, dtype=torch.float64)
    best = best_precisions(method)
    heads = len(best)
    # A recorded or unknown minimiser may be NaN; any precision serves here.
    k = torch.tensor([[0.4], [0.9]], dtype=torch.float64).expand(2, heads)
    k = k[:, 0].clone() if heads == 1 else k.clone()
    rng = Rng.of("broadcast", dtype=torch.float64).stack(2)
    x = mu + rng.split("data").normal((2, 32, 2))
    state = method.at_gaussian(mu, VARIANCE, k)
    losses = method.step(Energy(IsotropicGaussian(mu, k, heads)), x, state, rng.split("loss")).losses
    alone: dict[str, list[Tensor]] = {name: [] for name in losses}
    for i, seed in enumerate(rng.split("loss").seeds):
        one = _share(method.at_gaussian(mu, VARIANCE, k[i]), state, i)
        energy = Energy(IsotropicGaussian(mu, k[i], heads))
        for name, loss in method.step(energy, x[i], one, Rng(seed, dtype=torch.float64)).losses.items():
            alone[name].append(loss)
    differ = [
        f"{name}: {together.tolist()} together, {[loss.item() for loss in alone[name]]} alone"
        for name, together in losses.items()
        if together.shape != (2,)
        or not torch.allclose(together, torch.stack(alone[name]), rtol=1e-10, atol=1e-12)
    ]
    found = "; ".join(differ) or "two runs in one call equal each alone"
    return Finding(what=f"{method!r}: leading dimensions", ok=not differ, found=found)


def _share(alone: State, together: State, i: int) -> State:
    """The state of run ``i`` of several: what has a leading dimension there is cut, the rest is as it is."""

    def cut(one: Tensor, many: Tensor) -> Tensor:
        return many[i] if many.shape == (2, *one.shape) else many

    for player, module in alone.params.items():
        many = together.params[player].state_dict()
        module.load_state_dict({name: cut(one, many[name]) for name, one in module.state_dict().items()})
    return alone.update(**{name: cut(one, together.buffers[name]) for name, one in alone.buffers.items()})


def _saves(method: Method) -> Finding:
    module, x, state, rng = small_run(method)
    saved = {who: {name: p.clone() for name, p in m.state_dict().items()} for who, m in state.params.items()}
    before = method.step(Energy(module), x, state, rng).losses
    module, x, again, rng = small_run(method)
    for who, player in again.params.items():
        player.load_state_dict(saved[who])
    again = again.update(**{name: b.clone() for name, b in state.buffers.items()})
    after = method.step(Energy(module), x, again, rng).losses
    same = all(torch.equal(loss, after[who]) for who, loss in before.items())
    found = "the losses are the same" if same else "the losses differ; keep everything in params and buffers"
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
