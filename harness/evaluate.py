"""Evaluation of a fitted energy at checkpoints: every method shares points, streams and budget."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Dataset, Energy, Evaluation, Method, Metric, Network, RealDataset, Rng, State, Value
from ebmark.floors import NORMAL_QUANTILE
from ebmark.normaliser import LogZ, known, log_z, smc
from ebmark.picture import picture
from ebmark.points import TEST_POINTS, Points, gaussian_baseline, points
from ebmark.quadrature import POINTS
from ebmark.trial import Ref, Trial

__all__ = ["MODEL_SAMPLES", "TEST_POINTS", "Evaluator", "Points", "gaussian_baseline", "points"]

MODEL_SAMPLES = 2000
CHEAP_LOG_Z = 2  # up to this dimension log Z is a quadrature of some milliseconds, taken at every checkpoint

# Over 200 lines: the metrics of a checkpoint share one estimate of log Z, its samples and what these cost.

# By target; they depend on neither method nor seed, so that the next trial in this process finds them here.
_FLOORS: defaultdict[Ref, dict[tuple[object, ...], tuple[float, float]]] = defaultdict(dict)


class Evaluator:
    """Takes a trial's metrics of the energy as it stands.

    Args:
        trial: names the metrics, the data set and the seed.
        dataset: the target.
        data: training and held-out points.
        method: says which energy is graded, and what it holds against it (its own samples, its own log Z).
        network: the network as it is trained, evaluated on a meter of its own.
        made: the plug-in that made it, by default the one that the trial names.
    """

    def __init__(
        self,
        trial: Trial,
        dataset: Dataset,
        data: Points,
        method: Method,
        network: nn.Module,
        made: Network | None = None,
    ) -> None:
        self.trial, self.dataset, self.data, self.method, self.network = trial, dataset, data, method, network
        self.metrics: list[Metric] = [registry.make(ref) for ref in trial.metrics]
        made = made or registry.make(trial.network)
        self.improper = not made.normalisable
        # The network ``truth`` tests the estimate. Where samples are wanted, the sampler's doubts must hold.
        sampled = any("samples" in metric.needs for metric in self.metrics)
        self._known = made.known_z and not made.of_target and not sampled
        self.device = data.test.device
        self._rng = Rng.of(
            "evaluation",
            trial.dataset.name,
            trial.dataset.content,
            trial.seed,
            device=self.device,
            dtype=data.test.dtype,
        )
        self._of_truth: dict[str, Tensor] = {}
        self._final: tuple[nn.Module, Callable[[], LogZ], Callable[[], LogZ]] | None = None

    def rows(
        self, where: Mapping[str, Any], state: State, *, costly: bool, final: bool
    ) -> list[dict[str, Any]]:
        """One row of the curve table per metric that applies; ``where`` gives step, passes and wall.

        Metrics that need a sampler are taken at ``costly`` checkpoints only. There the samples of a method's
        own generator stand beside the energy's. The ``final`` one is compared with the data's Gaussian.
        """
        energy = self.method.graded(Energy(self.network), state)
        spent: list[LogZ] = []
        own = cache(lambda: self._own_samples(state))
        estimate = cache(lambda: self._log_z(spent, energy, state, own))
        # A quadrature gives no samples, and needs no check of the sampler's log Z; elsewhere one gives both.
        drawn = cache(
            lambda: (
                estimate() if estimate().samples is not None else self._spend(spent, smc, energy, check=False)
            )
        )
        at = self._evaluation(energy, state, estimate, drawn)
        found: list[dict[str, Any]] = []
        for metric in self.metrics:
            if self._applies(metric, costly=costly):
                found += self._measured(where, metric, at, spent)
        if costly or self._cheap:
            found += self._own_rows(where, at)
        if costly and own() is not None:
            beside = replace(at, samples=own, source="own_generator")
            for metric in self.metrics:
                if "samples" in metric.needs:
                    found += self._measured(where, metric, beside, spent)
        if final:
            found += self._data_rows(where)
        self._final = (energy.module, estimate, drawn) if final else None
        return found

    def _evaluation(
        self, energy: Energy, state: State, estimate: Callable[[], LogZ], drawn: Callable[[], LogZ]
    ) -> Evaluation:
        """What the metrics of this checkpoint may look at."""
        return Evaluation(
            energy=energy,
            dataset=self.dataset,
            test=self.data.test,
            log_z=lambda: estimate().as_value(),
            samples=lambda: drawn().samples,
            true_pair=self._true_pair,
            rng=self._rng.split("metrics"),
            floors=_FLOORS[self.trial.dataset],
            own_log_z=cache(lambda: self._own_log_z(state)),
            of_truth=self._of_truth,
        )

    def _data_rows(self, where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What real data themselves say: their Gaussian's likelihood, and what preprocessing adds to any."""
        if not isinstance(self.dataset, RealDataset):
            return
        yield _plain_row(where, "nll_gaussian", gaussian_baseline(self.data))
        if (log_det := self.dataset.log_det(self.data.test)) is not None:
            yield _plain_row(where, "log_det", Value(value=log_det.mean().item()))

    @staticmethod
    def _measured(
        where: Mapping[str, Any], metric: Metric, at: Evaluation, spent: list[LogZ]
    ) -> Iterator[dict[str, Any]]:
        """The row of a metric with what it cost, nothing where it does not apply."""
        meter = at.energy.meter
        begin, before = time.perf_counter(), meter.passes.input_gradient
        spent.clear()
        value = metric.measure(at)
        seconds = time.perf_counter() - begin
        work = meter.passes.input_gradient - before + sum(one.gradients for one in spent)
        if value is not None:
            yield _row(where, metric, value, seconds, work)

    def _own_log_z(self, state: State) -> Value | None:
        return self.method.log_z(Energy(self.network), state, self._rng.split("own_log_z"))

    def _own_rows(self, where: Mapping[str, Any], at: Evaluation) -> Iterator[dict[str, Any]]:
        """What the method itself holds for log Z, and how far it is from it where log Z is taken anyway."""
        own = at.own_log_z()
        if own is None:
            return
        yield _plain_row(where, "log_z_own", own)
        if not (self._cheap or any({"log_z", "samples"} & {*metric.needs} for metric in self.metrics)):
            return
        z = at.log_z()
        known = 0 if math.isnan(own.se) else own.se
        gap = Value(
            value=z.value - own.value,
            se=math.hypot(z.se, known),
            lo=z.value - own.value - math.hypot(NORMAL_QUANTILE * known, z.value - z.lo),
            hi=z.value - own.value + math.hypot(NORMAL_QUANTILE * known, z.hi - z.value),
            trusted=z.trusted,
            reasons=z.reasons,
        )
        yield _plain_row(where, "log_z_gap", gap)

    def _own_samples(self, state: State) -> Tensor | None:
        energy, rng = Energy(self.network), self._rng.split("own_generator")
        with torch.no_grad():
            return self.method.generate(energy, state, MODEL_SAMPLES, rng)

    @property
    def _cheap(self) -> bool:
        return self.dataset.dim <= CHEAP_LOG_Z or self._known

    def _starts(self, state: State, own: Callable[[], Tensor | None]) -> Tensor | None:
        """Where the model may have mass that the data lack: the generator's samples and the kept chains."""
        if self.dataset.dim in POINTS:
            return None
        like = self.data.test.shape[1:]
        known = [x for x in (own(), state.buffers.get("chains")) if x is not None and x.shape[1:] == like]
        return torch.cat([x[:MODEL_SAMPLES] for x in known]) if known else None

    def _log_z(
        self, spent: list[LogZ], energy: Energy, state: State, own: Callable[[], Tensor | None]
    ) -> LogZ:
        """Of the network in closed form where that serves, else estimated."""
        if self._known and energy.module is self.network:
            with torch.no_grad():
                return known(cast(Any, self.network).log_z().item())
        return self._spend(spent, log_z, energy, starts=self._starts(state, own))

    def _spend(self, spent: list[LogZ], how: Callable[..., LogZ], energy: Energy, **more: Any) -> LogZ:
        rng = self._rng.split("log_z")
        made = how(
            energy,
            self.data.train,
            rng,
            samples=MODEL_SAMPLES,
            improper=self.improper,
            max_gradients=self.trial.max_gradients,
            **more,
        )
        spent.append(made)
        return made

    def _applies(self, metric: Metric, *, costly: bool) -> bool:
        if "density" in metric.needs and not self.dataset.exact:
            return False
        if "samples" in metric.needs:
            return costly
        return costly or "log_z" not in metric.needs or self._cheap

    def _true_pair(self, i: int, n: int) -> tuple[Tensor, Tensor]:
        """Independent true samples of ``n`` points and of the test set's size (real data: disjoint rows)."""
        rng = Rng.of("pair", self.trial.dataset.name, self.trial.dataset.args, i, device=self.device)
        if not isinstance(self.dataset, RealDataset):
            return self.dataset.sample(n, rng), self.dataset.sample(len(self.data.test), rng)
        rows = torch.cat([self.data.train, self.data.test])[
            rng.permutation(len(self.data.train) + len(self.data.test))
        ]
        return rows[len(self.data.test) :][:n], rows[: len(self.data.test)]

    def picture(self) -> list[dict[str, Any]]:
        """Rows of the samples table at d = 2, of the energy at the final checkpoint."""
        if self.dataset.dim != 2 or self._final is None:
            return []
        graded, log_z, drawn = self._final[0], self._final[1]().value, self._final[2]().samples
        if not math.isfinite(log_z):
            return []
        rows = picture(graded, log_z, drawn, self.dataset, self.data.test)
        return [{"id": self.trial.id, **row} for row in rows]


def _row(
    where: Mapping[str, Any], metric: Metric, value: Value, seconds: float, gradients: float
) -> dict[str, Any]:
    source = value.source or ("smc" if "samples" in metric.needs else "")
    return {
        **where,
        "metric": metric.name,
        "source": source,
        **_numbers(value),
        "seconds": seconds,
        "gradients": gradients,
    }


def _plain_row(where: Mapping[str, Any], name: str, value: Value) -> dict[str, Any]:
    """The row of a number that no metric of the trial measures."""
    return {**where, "metric": name, "source": "", **_numbers(value)}


def _numbers(value: Value) -> dict[str, Any]:
    """The columns of a value; a number that is not finite is left out and never trusted."""
    columns = ("value", "se", "lo", "hi", "floor_mean", "floor_sd")
    numbers = {name: getattr(value, name) for name in columns}
    finite = math.isfinite(value.value)
    return {
        **{name: number if math.isfinite(number) else None for name, number in numbers.items()},
        "trusted": value.trusted and finite,
        "reasons": value.reasons or ("" if finite else "the value is not finite"),
    }
