"""A network of one's own, outside a study: ``fit`` trains it with any method, ``log_z`` normalises it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ebmark import normaliser, registry
from ebmark.api import (
    Auto,
    Dataset,
    Energy,
    Method,
    Network,
    Passes,
    Plugin,
    RealDataset,
    Rng,
    Splits,
    State,
    dataset,
    network,
    resolve,
)
from ebmark.attempt import Attempt
from ebmark.bar import Bar
from ebmark.course import begin
from ebmark.errors import PluginError, SpecError
from ebmark.evaluate import Evaluator, Points, points
from ebmark.normaliser import LogZ
from ebmark.place import Place
from ebmark.selector import parse
from ebmark.train import Training
from ebmark.trial import MAX_GRADIENTS, Budget, Optimiser, Ref, Trial, canonical

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Fit", "LogZ", "fit", "log_z"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Fit:
    """A network that has been trained.

    Attributes:
        method: with every setting a number.
        energy: what was fitted, x ``(..., d)`` -> E(x) ``(...)``, p proportional to exp(-E).
        network: the trained copy of the module that was given. The energy itself, but for methods that
            train several heads or put a base density beside the network.
        state: what the method keeps: learned constants, opponents, chains.
        steps: optimiser steps made.
        passes: work on the energy in points x F, by kind, as plain autograd needs it.
        seconds: by phase; ``evaluation`` is not training. The first step's are in none of them.
        rows: of ``curve`` and ``logs``.
    """

    method: Method
    energy: nn.Module
    network: nn.Module
    state: State
    steps: int
    passes: Passes
    seconds: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]]

    @cached_property
    def curve(self) -> pd.DataFrame:
        """The metrics along the run, a row each: step, passes, wall, metric, source, value, se, ..."""
        return self._frame(logs=False)

    @cached_property
    def logs(self) -> pd.DataFrame:
        """The method's diagnostics, a row per checkpoint: mean values since the last."""
        logs = self._frame(logs=True)
        wide = logs.pivot_table(index="step", columns="metric", values="value", sort=False)
        return wide.rename(columns=lambda name: name.removeprefix("log_")).rename_axis(columns=None)

    def __repr__(self) -> str:
        seconds = sum(s for phase, s in self.seconds.items() if phase != "evaluation")
        return f"Fit({self.method!r}: {self.steps} steps, {self.passes.total:.3g} F, {seconds:.3g} s)"

    def _frame(self, *, logs: bool) -> pd.DataFrame:
        import pandas as pd

        from ebmark.record import CURVE

        columns = [name for name in CURVE if name not in ("id", "attempt")]
        # A metric's name may begin with log_ too; only what is measured may be doubted.
        chosen = [row for row in self.rows if ("reasons" not in row) == logs]
        return pd.DataFrame(chosen, columns=columns)

    def _repr_html_(self) -> str:
        from ebmark.notebook import fit_html

        return fit_html(self)


def fit(
    method: str | Method,
    energy: nn.Module,
    data: Tensor | np.ndarray[Any, Any] | Dataset | str,
    *,
    steps: int | None = None,
    passes: float | None = None,
    seconds: float | None = None,
    batch: int = 256,
    optimiser: str = "adam",
    lr: float | None = None,
    schedule: str = "cosine",
    seed: int = 0,
    metrics: Sequence[str] = (),
    test: Tensor | np.ndarray[Any, Any] | None = None,
    checkpoints: int = 8,
    progress: bool | None = None,
) -> Fit:
    """Trains a copy of ``energy`` on ``data`` with any method: the same loop as in a study.

    Args:
        method: a selector such as ``"cd[k=10]"``, or an instance. Settings that follow the data are resolved.
        energy: any module x ``(..., d)`` -> E(x) ``(...)``; with a method of several heads ``(..., heads)``.
            It is left as it is; training happens where its parameters are and in their type.
        data: points ``(n, d)``, visited in shuffled epochs; or a data set, an instance or a selector such as
            ``"eight_gaussians"``, of which every batch is fresh.
        steps: optimiser steps after which it ends. At least one of the three limits is needed.
        passes: work on the energy after which it ends, in points x F.
        seconds: of training, likewise; not reproducible.
        batch: points per step.
        optimiser: ``"adam"`` or ``"normalised_sgd"``.
        lr: the energy's rate; by default the method's own.
        schedule: of the rate, ``"cosine"`` or ``"constant"``.
        seed: of the data's order and of the method's randomness.
        metrics: selectors of what is measured along the run, e.g. ``["nll", "mmd"]``; held-out points are
            needed: those of the data set, or ``test``.
        test: held-out points ``(m, d)`` beside ``data (n, d)``.
        checkpoints: times at which the metrics are taken, log-spaced; costly ones at the last only.
        progress: a line that says how far it is; by default in a terminal or a notebook.

    Returns:
        The fitted energy with its costs. On the CPU the same arguments give the same numbers.

    Raises:
        DivergedError: a loss or a parameter is no longer finite; ``last`` holds the steps up to it.
        SpecError: an argument that does not fit, in one line.
        PluginError: an unknown method, data set or metric.

    Example:
        >>> import ebmark
        >>> from ebmark.api import Rng
        >>> from ebmark.networks.mlp import MLP
        >>> x = 2 + Rng.of("points").normal((500, 1))
        >>> fitted = ebmark.fit("dsm[sigma=0.1]", MLP(width=16).build(x, Rng.of("weights")), x, steps=200)
        >>> fitted.energy(x).shape, fitted.steps
        (torch.Size([500]), 200)
        >>> fitted.passes.total / (200 * 256)  # 6 F a point and step
        6.0
    """
    module = _copied(energy)
    like = _like(module)
    made, method_ref = _plugin("method", method)
    rows, dataset_ref = _data(data, test, like)
    trial = Trial(
        seed=seed,
        method=method_ref,
        dataset=dataset_ref,
        network=Ref(kind="network", name=type(energy).__name__),
        budget=Budget(steps=steps, passes=passes, seconds=seconds, batch=batch),
        optimiser=Optimiser(name=optimiser, lr=lr, schedule=schedule),
        metrics=tuple(_plugin("metric", name)[1] for name in metrics),
        checkpoints=_at_least_one("checkpoints", checkpoints),
    )
    attempt = _Attempt(trial, made, rows, module, _points(trial, rows, like))
    bar = Bar(method_ref.name, shown=progress)
    attempt.stepped = lambda run: bar.show(run.progress, f"{run.steps} steps")
    try:
        attempt.go()
    finally:
        bar.close()
    return attempt.fitted()


def log_z(
    energy: nn.Module | Callable[[Tensor], Tensor],
    data: Tensor | np.ndarray[Any, Any] | Dataset | str,
    *,
    seed: int = 0,
    samples: int = 1024,
    max_gradients: float = MAX_GRADIENTS,
) -> LogZ:
    """The logarithm of Z, the integral of exp(-E), with its standard error and the reasons to doubt it.

    Up to d = 3 a quadrature in a box around the data; above it annealed sequential Monte Carlo, checked
    backwards. docs/evaluation.md says what is detected and what is not.

    Args:
        energy: x ``(..., d)`` -> E(x) ``(...)``, a module or a function of torch tensors.
        data: points ``(n, d)`` near the model's mass, as a rule its training data, or a data set.
        seed: of the sampler's randomness.
        samples: of the model, taken along above d = 3.
        max_gradients: cap on the sampler's work.

    Returns:
        ``value`` in nats (NaN where the energy is not finite), ``se``, the interval ``lo`` to ``hi``,
        ``trusted`` and ``reasons``, ``samples (m, d)`` and what it cost.

    Raises:
        SpecError: an argument that does not fit, in one line.

    Example:
        >>> import ebmark, torch
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> found = ebmark.log_z(lambda x: x.square().sum(-1) / 2, x)
        >>> f"{found.value:.5f}", found.trusted  # the logarithm of 2 pi
        ('1.83788', True)
    """
    module = energy if isinstance(energy, nn.Module) else _Function(energy)
    like = _like(module)
    given, ref = _data(data, None, like)
    trial = Trial(
        seed=seed, method=ref, dataset=ref, network=ref, budget=Budget(steps=1)
    )  # only names the streams
    x = _points(trial, given, like).train
    _check_shape(module, x, 1)
    rng = Rng.of("log_z", seed, device=x.device, dtype=x.dtype)
    try:
        return normaliser.log_z(Energy(module), x, rng, max_gradients=max_gradients, samples=samples)
    except ValueError as error:
        raise SpecError(f"log_z: {error}") from error


class _Attempt(Attempt):
    """An attempt whose parts are given instead of named."""

    def __init__(
        self, trial: Trial, method: Method, dataset: Dataset, module: nn.Module, data: Points
    ) -> None:
        super().__init__(trial, Place(device=str(data.train.device), env={}), 1, {"code": ""})
        self.method, self.dataset, self.module, self.data = method, dataset, module, data

    def prepare(self) -> None:
        """Makes everything up to the first step."""
        given, x = _Given(), self.data.train
        if declined := self.method.declines(self.dataset, given):
            raise SpecError(f"fit: {declined}")
        _check_shape(self.module, x, self.method.heads(x.shape[-1]))
        self.method = resolve(self.method, x)
        self.training = begin(self.trial, self.method, self.dataset, self.module, self.data)
        if self.trial.metrics:
            self._evaluator = Evaluator(self.trial, self.dataset, self.data, self.method, self.module, given)

    def fitted(self) -> Fit:
        """What came out."""
        run = cast(Training, self.training)
        return Fit(
            method=self.method,
            energy=self.method.graded(Energy(self.module), run.state).module,
            network=self.module,
            state=run.state,
            steps=run.steps,
            passes=run.meter.passes,
            seconds=run.meter.seconds,
            rows=tuple(self.curve),
        )


@network("given")
class _Given(Network):
    """A module of the caller's, of which nothing is known."""

    many_heads = True


@dataset("given")
class _Rows(RealDataset):
    """Points of the caller's."""

    dim: int
    rows: Any = None

    def splits(self) -> Splits:
        """The points; none of them is for validation."""
        train, test = self.rows
        return Splits(train=train, val=test[:0], test=test)


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        return self.function(x)


def _copied(energy: nn.Module) -> nn.Module:
    if not isinstance(energy, nn.Module):
        raise SpecError(f"fit: energy: {type(energy).__name__} given; allowed: a torch.nn.Module")
    if not any(p.requires_grad for p in energy.parameters()):
        raise SpecError(f"fit: energy: {type(energy).__name__} has no parameters to train")
    return copy.deepcopy(energy)


def _like(module: nn.Module) -> Tensor:
    """An empty tensor where the module is and of its type."""
    known = (t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    return next(known, torch.empty(0)).new_empty(0)


def _plugin(kind: str, given: str | Plugin) -> tuple[Any, Ref]:
    """A plug-in with its Ref, from a selector or an instance."""
    if isinstance(given, str):
        name, settings = parse(given)
        if lists := [name for name, value in settings.items() if isinstance(value, list)]:
            raise SpecError(f"{kind} {given!r}: {lists[0]} is a list; allowed: one value")
        ref = registry.ref(kind, name, **settings)
        return registry.make(ref), ref
    if getattr(given, "kind", None) != kind:
        raise SpecError(f"{kind}: {given!r:.60} given; allowed: a selector, or an instance of a {kind}")
    values = {f.name: getattr(given, f.name) for f in fields(given)}  # type: ignore[arg-type]  # a dataclass
    settings = {name: "auto" if isinstance(value, Auto) else value for name, value in values.items()}
    try:
        if registry.get(kind, given.name) is type(given):
            return given, registry.ref(kind, given.name, **settings)
    except PluginError:  # a class that is registered nowhere
        pass
    return given, Ref(kind=kind, name=given.name, args=canonical(settings))


def _data(
    given: Tensor | np.ndarray[Any, Any] | Dataset | str, test: Any, like: Tensor
) -> tuple[Dataset, Ref]:
    """The data as a data set, and its name for streams and floors."""
    if isinstance(given, str | Dataset):
        if test is not None:
            raise SpecError("test: given beside a data set, which has held-out points of its own")
        made: tuple[Dataset, Ref] = _plugin("dataset", given)
        return made
    train = _tensor("data", given, like)
    held_out = train[:0] if test is None else _tensor("test", test, like)
    if held_out.shape[1] != train.shape[1]:
        raise SpecError(f"test: d = {held_out.shape[1]}, but the data have d = {train.shape[1]}")
    digest = hashlib.sha256(train.cpu().numpy().tobytes() + held_out.cpu().numpy().tobytes()).hexdigest()
    rows = _Rows(dim=train.shape[1], rows=(train, held_out))
    return rows, Ref(kind="dataset", name="given", args=canonical({"sha256": digest}))


def _tensor(name: str, given: Any, like: Tensor) -> Tensor:
    try:
        x = torch.as_tensor(given).to(like)
    except (TypeError, ValueError, RuntimeError) as error:
        allowed = "points (n, d) as a tensor or an array, a data set or its selector"
        raise SpecError(f"{name}: {type(given).__name__} given; allowed: {allowed}") from error
    if x.dim() != 2 or not x.numel():
        raise SpecError(f"{name}: shape {tuple(x.shape)} given; allowed: (n, d)")
    if not x.isfinite().all():
        raise SpecError(f"{name}: not every number is finite")
    return x


def _points(trial: Trial, rows: Dataset, like: Tensor) -> Points:
    found = points(trial, rows, like.device)
    if trial.metrics and not len(found.test):
        raise SpecError("metrics: they need held-out points; give test=..., or a data set instead of points")
    return Points(train=found.train.to(like), test=found.test.to(like))


def _check_shape(module: nn.Module, x: Tensor, heads: int) -> None:
    """One energy per point, or one per head."""
    try:
        with torch.no_grad():
            shape = tuple(module(x[:2]).shape)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise SpecError(f"energy: fails on points of shape {tuple(x[:2].shape)}: {line}") from error
    wanted = (len(x[:2]), heads) if heads > 1 else (len(x[:2]),)
    if shape != wanted:
        raise SpecError(f"energy: gives shape {shape} for points {tuple(x[:2].shape)}; allowed: {wanted}")


def _at_least_one(name: str, n: int) -> int:
    if n < 1:
        raise SpecError(f"{name}: {n} given; allowed: at least 1")
    return n
