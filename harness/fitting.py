"""A network of one's own, outside a study: ``fit`` trains it with any method, ``log_z`` normalises it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ebmark import normaliser
from ebmark.api import Dataset, Energy, Method, Metric, Rng, resolve
from ebmark.attempt import Attempt
from ebmark.bar import Bar
from ebmark.course import begin
from ebmark.energy_check import Flattened, check_place, check_values, doubts, takes_leading
from ebmark.errors import SpecError
from ebmark.evaluate import Evaluator, Points
from ebmark.fitted import Fit
from ebmark.given import (
    Function,
    Given,
    at_least_one,
    copied,
    data_set,
    like_of,
    plugin,
    points_of,
)
from ebmark.normaliser import LogZ
from ebmark.place import Place
from ebmark.quadrature import POINTS
from ebmark.train import Training
from ebmark.trial import MAX_GRADIENTS, Budget, Optimiser, Ref, Trial

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Fit", "LogZ", "fit", "log_z"]


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
    module = copied(energy)
    like = like_of(module)
    made, method_ref = plugin("method", method)
    rows, dataset_ref = data_set(data, test, like)
    trial = Trial(
        seed=seed,
        method=method_ref,
        dataset=dataset_ref,
        network=Ref(kind="network", name=type(energy).__name__),
        budget=Budget(steps=steps, passes=passes, seconds=seconds, batch=batch),
        optimiser=Optimiser(name=optimiser, lr=lr, schedule=schedule),
        metrics=tuple(plugin("metric", name)[1] for name in metrics),
        checkpoints=at_least_one("checkpoints", checkpoints),
    )
    attempt = _Attempt(trial, made, rows, module, points_of(trial, rows, like))
    bar = Bar(method_ref.name, shown=progress)
    attempt.stepped = lambda run: bar.show(run.progress, f"{run.steps} steps")
    try:
        with torch.enable_grad():  # the caller may have switched gradients off
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
        data: points ``(n, d)`` near the model's mass, as a rule its training data, or a data set; at least 2
            that differ.
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
    if not callable(energy):
        raise SpecError(f"energy: {type(energy).__name__} given; allowed: a torch.nn.Module or a function")
    module = energy if isinstance(energy, nn.Module) else Function(energy)
    check_place(module)
    like = like_of(module)
    given, ref = data_set(data, None, like)
    trial = Trial(
        seed=seed, method=ref, dataset=ref, network=ref, budget=Budget(steps=1)
    )  # only names the streams
    x = points_of(trial, given, like).train
    at_least_one("samples", samples)
    if not max_gradients >= 1:
        raise SpecError(f"max_gradients: {max_gradients} given; allowed: at least 1")
    check_values(module, x)
    module = module if takes_leading(module, x) else Flattened(module)
    rng = Rng.of("log_z", seed, device=x.device, dtype=x.dtype)
    try:
        found = normaliser.log_z(Energy(module), x, rng, max_gradients=max_gradients, samples=samples)
    except ValueError as error:
        raise SpecError(f"log_z: {str(error).splitlines()[0]}") from error
    more = tuple(doubts(module, x, widths=found.method == "smc"))
    return replace(found, trusted=found.trusted and not more, reasons=(*found.reasons, *more))


class _Attempt(Attempt):
    """An attempt whose parts are given instead of named."""

    def __init__(
        self, trial: Trial, method: Method, dataset: Dataset, module: nn.Module, data: Points
    ) -> None:
        super().__init__(trial, Place(device=str(data.train.device), env={}), 1, {"code": ""})
        self.method, self.dataset, self.module, self.data = method, dataset, module, data

    def prepare(self) -> None:
        """Makes everything up to the first step."""
        given, x = Given(), self.data.train
        if declined := self.method.declines(self.dataset, given):
            raise SpecError(f"fit: {declined}")
        check_values(self.module, x, self.method.heads(x.shape[-1]))
        self.method = resolve(self.method, x)
        self.training = begin(self.trial, self.method, self.dataset, self.module, self.data)
        if self.trial.metrics:
            self._evaluator = Evaluator(self.trial, self.dataset, self.data, self.method, self.module, given)
            self._check_sampled(self._evaluator.metrics, x)

    def _check_sampled(self, metrics: Sequence[Metric], x: Tensor) -> None:
        """A sampler's particles have two leading dimensions, which training has not."""
        sampled = {"samples"} if x.shape[-1] in POINTS else {"samples", "log_z"}
        needing = [metric.name for metric in metrics if sampled & {*metric.needs}]
        if needing and not takes_leading(self.module, x):
            raise SpecError(
                f"energy: takes points (n, d) alone; for the metric {needing[0]} (..., d) is needed"
            )

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
