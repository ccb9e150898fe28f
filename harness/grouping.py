"""Which trials may be trained in one program: found out by a rehearsal in small, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ebmark import registry
from ebmark.api import Rng, resolve
from ebmark.together import Together
from ebmark.train import Training
from ebmark.trial import Budget, Optimiser, Ref, Trial

RUNS, STEPS, BATCH, POINTS = 2, 2, 16, 200  # of a rehearsal
# Adam blows up a gradient that is nothing but rounding: what it then moves by must stay below NEAR.
RATE, NEAR = 1e-5, 1e-8

Way = Literal["stacked", "mapped", ""]


def key(trial: Trial) -> Trial:
    """Equal for trials that differ in their seed alone."""
    return replace(trial, seed=0, pictures=False)


def way(trial: Trial) -> Way:
    """How trials like this one are trained together; "" where they must be trained one by one."""
    if alone(trial):
        return ""
    return _rehearsed(trial.method, trial.network, trial.dataset)


def alone(trial: Trial) -> bool:
    """Whether it is known without a rehearsal that such trials are trained one by one.

    The cost lane times single trials; a budget in seconds has no common step at which it ends; the gradient's
    norm over all parameters would be one for all seeds; and players take turns by what each has reached.
    """
    method: Any = registry.get("method", trial.method.name)
    adam = trial.optimiser.name == "adam"
    return (
        trial.lane == "cost"
        or trial.budget.seconds is not None
        or not adam
        or not set(method.players) <= {"energy"}
        or not method.leading
    )


@cache
def _rehearsed(method: Ref, network: Ref, dataset: Ref) -> Way:
    """The first way in which two small runs together are those runs alone."""
    try:
        if _reads_numbers(_small(method, network, dataset, 0)):
            return ""
    except Exception:  # noqa: BLE001  # it fails alone, too, and its record will say how
        return ""
    ways: tuple[Way, ...] = ("stacked", "mapped")
    for way in ways:
        try:
            if _same(lambda seed: _small(method, network, dataset, seed), mapped=way == "mapped"):
                return way
        except Exception:  # noqa: BLE001  # whatever cannot be stacked
            continue
    return ""


def _small(method: Ref, network: Ref, dataset: Ref, seed: int) -> Training:
    """A training in float64 on a few points of the data set."""
    target, architecture = registry.make(dataset), registry.make(network)

    def stream(purpose: str) -> Rng:
        return Rng.of("rehearsal", purpose, seed, dtype=torch.float64)

    data = target.sample(POINTS, stream("data")).double()
    made = resolve(registry.make(method), data)
    more: dict[str, Any] = {"dataset": target} if architecture.of_target else {}
    if (heads := made.heads(target.dim)) > 1:
        more["heads"] = heads
    module = architecture.build(data, stream("weights"), **more)
    batches = iter(data[: STEPS * BATCH].split(BATCH))
    budget, optimiser = Budget(steps=STEPS, batch=BATCH), Optimiser(lr=RATE)
    return Training(made, module, data, batches, stream("method"), budget, optimiser)


def _reads_numbers(run: Training) -> bool:
    """Whether a loss takes a number out of a tensor: what is done with it would be done to all seeds."""
    reads = _Reads()  # type: ignore[no-untyped-call]  # of torch
    with reads:
        run.method.step(run.energy, next(run.stream), run.state, run.rng)
    return reads.seen


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Notes whether ``bool()``, ``float()`` or ``item()`` was asked of a tensor."""

    seen: bool = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.seen |= func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def _same(make: Callable[[int], Training], *, mapped: bool) -> bool:
    """Whether runs together end with the parameters, buffers and diagnostics of the runs alone."""
    apart, beside = ([make(seed) for seed in range(RUNS)] for _ in range(2))
    together = Together(beside, mapped=mapped)
    if not set(together.state.params) <= {"energy"}:
        return False
    for _ in range(STEPS):
        together.step()
        for run in apart:
            run.step()
    together.hand_over()
    return all(map(_equal, apart, beside))


def _equal(one: Training, other: Training) -> bool:
    mine, theirs = _numbers(one), _numbers(other)
    return mine.keys() == theirs.keys() and all(
        mine[name].shape == theirs[name].shape
        and torch.allclose(mine[name].double(), theirs[name].double(), rtol=NEAR, atol=NEAR, equal_nan=True)
        for name in mine
    )


def _numbers(run: Training) -> dict[str, torch.Tensor]:
    modules = {"network": run.module, **run.state.params}
    tensors = {f"{who} {name}": p for who, module in modules.items() for name, p in module.named_parameters()}
    logs = {f"log {name}": torch.tensor(value) for name, value in run.flush_logs().items()}
    return {**tensors, **logs, **{f"buffer {name}": b for name, b in run.state.buffers.items()}}
