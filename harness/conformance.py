"""The conformance test of a method: structure here, the mathematics that it declares in ``gradient_test``."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, replace

import torch
from torch import Tensor, nn

from ebmark.api import Dataset, Energy, Method, Network, Rng, State, Step, Value, resolve
from ebmark.gradient_test import (
    MEAN,
    VARIANCE,
    IsotropicGaussian,
    best_precisions,
    opponent_tests,
    z_tests,
)
from ebmark.plugin_checks import Finding, pickles, raised
from ebmark.rehearsal import accepted_dims, own_parameters, run_backward, small_run, whole_step
from ebmark.settings import default

_Test = Callable[[Method], Finding | Iterator[Finding]]
_NO_STATE = (
    "the state here is that of at_gaussian(mu, v, k): return from it what init gives, as it is on N(mu, vI)"
)


def check(cls: type[Method]) -> Iterator[Finding]:
    """Every check of a method class, lazily, in the order of cost."""
    tests: dict[str, _Test] = {
        "pickles": pickles,
        "passes": counts,
        "same seed, same loss": _reproduces,
        "gradients reach": _reaches,
        "evaluated": _shapes,
        "leading dimensions": _broadcasts,
        "state saves and loads": _saves,
        "gradient in k": z_tests,
        "gradient of players": opponent_tests,
    }
    examples = cls.examples(VARIANCE)
    for method in examples:
        try:
            accepted_dims(method)
        except LookupError as error:
            yield Finding(what=f"{method!r}: declines every dimension", ok=False, found=str(error))
            continue
        for name, test in tests.items():
            yield from _guarded(name, test, method)
    settings = fields(cls)  # type: ignore[arg-type]  # every plug-in is a dataclass
    if all(default(f) is not MISSING for f in settings) and (usual := _usual(cls)) not in examples:
        for finding in _guarded("passes", counts, usual):
            yield replace(finding, what=f"{cls.name} at its defaults: passes")
    yield from _guarded("declines", _refuses, examples[0])


def _usual(cls: type[Method]) -> Method:
    """The default settings, resolved on two-dimensional data of the test's variance."""
    return resolve(cls(), math.sqrt(VARIANCE) * Rng.of("defaults", dtype=torch.float64).normal((200, 2)))


def _guarded(name: str, test: _Test, method: Method) -> Iterator[Finding]:
    try:
        found = test(method)
        yield from (found,) if isinstance(found, Finding) else found
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; that is the finding
        found = raised(f"{method!r}: {name}", error)
        if isinstance(error, KeyError) and test in (_broadcasts, z_tests, opponent_tests):
            found = replace(found, found=f"{found.found}; {_NO_STATE}")
        yield found


def counts(method: Method) -> Finding:
    """Whether the meter counts what ``passes`` declares, at every dimension that the method accepts."""
    for d in accepted_dims(method):
        module, x, state, rng = small_run(method, d)
        energy, step = whole_step(method, module, x, state, rng)
        run_backward(module, step)
        energy.meter.commit(*step.losses)
        counted, declared = energy.meter.passes * (1 / len(x)), method.passes(d)
        if counted != declared:
            found = f"counted {counted}, declared {declared} at d = {d}; use the operators of ebmark.ops"
            return Finding(what=f"{method!r}: passes", ok=False, found=found)
    d = accepted_dims(method)[0]
    found = f"{method.passes(d).total:g} F at d = {d}, as declared"
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
        log_z: object = method.log_z(energy, state, rng)  # a plug-in may return anything
    bad = []
    if graded.shape != x.shape[:-1]:
        bad.append(f"graded gives {tuple(graded.shape)} for x {tuple(x.shape)}")
    if drawn is not None and drawn.shape != (7, x.shape[-1]):
        bad.append(f"generate gives {tuple(drawn.shape)} for 7 points")
    if log_z is not None and not isinstance(log_z, Value):
        bad.append(f"log_z gives a {type(log_z).__name__}, expected an ebmark.api.Value or None")
    return Finding(what=f"{method!r}: evaluated", ok=not bad, found="; ".join(bad) or "shapes as declared")


def _broadcasts(method: Method) -> Finding:
    if not method.leading:
        what = f"{method!r}: leading dimensions"
        return Finding(what=what, ok=True, found="declined: replicates and seeds run one by one")
    mu = torch.tensor(MEAN, dtype=torch.float64)
    best = best_precisions(method)
    heads = len(best)
    # A recorded or unknown minimiser may be NaN; any precision serves here.
    k = torch.tensor([[0.4], [0.9]], dtype=torch.float64).expand(2, heads)
    k = k[:, 0].clone() if heads == 1 else k.clone()
    rng = Rng.of("broadcast", dtype=torch.float64).stack(2)
    x = mu + rng.split("data").normal((2, 32, 2))
    state = method.at_gaussian(mu, VARIANCE, k)
    together = method.step(Energy(IsotropicGaussian(mu, k, heads)), x, state, rng.split("loss"))
    alone = []
    for i, seed in enumerate(rng.split("loss").seeds):
        one = _share(method.at_gaussian(mu, VARIANCE, k[i]), state, i)
        energy = Energy(IsotropicGaussian(mu, k[i], heads))
        alone.append(method.step(energy, x[i], one, Rng(seed, dtype=torch.float64)))
    differ = [
        f"{name}: {loss.tolist()} together, {[step.losses[name].item() for step in alone]} alone"
        for name, loss in together.losses.items()
        if not _equal(loss, torch.stack([step.losses[name] for step in alone]))
    ]
    differ += [f"buffer {name} differs" for name in _differing(state, together, alone)]
    found = "; ".join(differ) or "two runs in one call equal each alone"
    return Finding(what=f"{method!r}: leading dimensions", ok=not differ, found=found)


def _equal(one: Tensor, other: Tensor) -> bool:
    near = one.shape == other.shape and torch.allclose(one, other, rtol=1e-10, atol=1e-12, equal_nan=True)
    return near and one.dtype == other.dtype


def _differing(given: State, together: Step, alone: list[Step]) -> Iterator[str]:
    """Returned buffers of two runs that are not those of each alone; what both share may differ."""
    for name, many in together.state.buffers.items():
        each = torch.stack([step.state.buffers[name] for step in alone])
        was = given.buffers.get(name)
        own = each.shape in (many.shape, None if was is None else was.shape)
        if own and not _equal(many, each):
            yield name


def _share(alone: State, together: State, i: int) -> State:
    """The state of run ``i`` of several: what has a leading dimension there is cut, the rest is as it is."""

    def cut(one: Tensor, many: Tensor) -> Tensor:
        return many[i] if many.shape == (2, *one.shape) else many

    for player, module in alone.params.items():
        many = together.params[player].state_dict()
        module.load_state_dict({name: cut(one, many[name]) for name, one in module.state_dict().items()})
    return alone.update(**{name: cut(one, together.buffers[name]) for name, one in alone.buffers.items()})


def _saves(method: Method) -> Finding:
    """One step, loaded into a fresh object of the same settings, whose first state came from another seed."""
    module, x, state, rng = small_run(method)
    state = whole_step(method, module, x, state, rng)[1].state
    _move(module, state, rng.split("move"))
    saved = pickle.dumps(
        ({who: m.state_dict() for who, m in _modules(module, state).items()}, dict(state.buffers))
    )
    before = whole_step(method, module, x, state, rng.split("again"))[1]
    fresh = replace(method)  # type: ignore[type-var]  # every plug-in is a dataclass
    module, _, state, _ = small_run(fresh, seed=1)
    params, buffers = pickle.loads(saved)
    for who, owner in _modules(module, state).items():
        owner.load_state_dict(params[who])
    after = whole_step(fresh, module, x, state.update(**buffers), rng.split("again"))[1]
    differ = [f"loss of {who}" for who, loss in before.losses.items() if not loss.equal(after.losses[who])]
    kept = after.state.buffers
    differ += [f"buffer {name}" for name, b in before.state.buffers.items() if not _equal(b, kept[name])]
    found = f"not the same: {', '.join(differ)}; keep everything in params and buffers"
    same = "the losses and buffers of the next step are the same"
    return Finding(what=f"{method!r}: state saves and loads", ok=not differ, found=found if differ else same)


def _modules(module: nn.Module, state: State) -> dict[str, nn.Module]:
    """The network and every player's own module; no player has the empty name."""
    return {"": module, **state.params}


def _move(module: nn.Module, state: State, rng: Rng) -> None:
    """Stands for training: every parameter moves."""
    with torch.no_grad():
        for owner in _modules(module, state).values():
            for p in owner.parameters():
                p.add_(0.1 * rng.normal(p.shape))


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
