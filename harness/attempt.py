"""One attempt at a trial: training and evaluation up to its end, whatever that is, and the record of it."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import torch
from torch import nn

from ebmark import registry
from ebmark.api import Auto, Dataset, Method, Network, Rng, resolve
from ebmark.evaluate import Evaluator, Points, points
from ebmark.recent import LastStep
from ebmark.record import Record, Row, row
from ebmark.train import DivergedError, Training, batches
from ebmark.trial import Trial, canonical
from ebmark.trust import Watch

# Longer than most: what is known of an attempt at any moment is one thing, and so is its record.

MODEL_BYTES = 1_000_000  # larger networks are not stored


class DeadlineError(Exception):
    """The trial has had its time."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial runs.

    Attributes:
        device: torch's name of the device.
        threads: torch threads to use.
        exclusive: nothing else of ours runs on this machine meanwhile.
        env: the row of the env table that describes the machine.
    """

    device: str = "cpu"
    threads: int = 1
    exclusive: bool = False
    env: Row


class Attempt:
    """One attempt at a trial: what is known of it so far, from which the record is made at any moment.

    Args:
        trial: the trial.
        place: where it runs.
        number: the how-manieth attempt it is.
        known: the columns that are known before it runs.

    Attributes:
        training: its training; None before ``prepare``.
        together: how many trials are trained in its program.
        watch: entered and left by who runs it.
        status: how it ended, "" as long as it goes on.
        cpu: CPU seconds of its training.
        stepped: told of the training after each step, by who watches it.
        curve: rows of the curve so far.
    """

    def __init__(self, trial: Trial, place: Place, number: int, known: Row) -> None:
        self.trial, self.place, self.number, self.known = trial, place, number, known
        self.watch = Watch(place.device)
        self.started, self._begin = datetime.now(UTC), time.monotonic()
        self.deadline = math.inf if trial.timeout is None else self._begin + trial.timeout
        self.training: Training | None = None
        self.together = 1
        self.status, self.reason = "", ""
        self.cpu = 0.0
        self._trace: str | None = None
        self._last: Sequence[LastStep] = ()
        self._method: Method | None = None
        self._evaluator: Evaluator | None = None
        self._dim: int | None = None
        self._flops: float | None = None
        self.stepped: Callable[[Training], object] | None = None
        self.curve: list[dict[str, Any]] = []
        self._samples: list[dict[str, Any]] = []

    @contextmanager
    def ending(self) -> Iterator[None]:
        """What is raised inside ends the attempt, with a status and a reason.

        Raises:
            KeyboardInterrupt: the user wants to stop.
        """
        try:
            yield
        except DivergedError as error:
            self.end("diverged", str(error), error.last)
        except DeadlineError as error:
            self.end("timeout", str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in may raise anything; the row says what
            self.end(*_classify(error, "preparing" if self.training is None else "training"))
            self._trace = traceback.format_exc()

    def end(self, status: str, reason: str = "", last: Sequence[LastStep] = ()) -> None:
        """Nothing follows; of a divergence ``last`` are the steps up to it."""
        self.status, self.reason, self._last = status, reason, last

    def prepare(self) -> None:
        """Makes everything up to the first step; a method that declines ends the attempt as skipped."""
        trial = self.trial
        device = torch.device(self.place.device)
        method, dataset, network = (registry.make(r) for r in (trial.method, trial.dataset, trial.network))
        self._dim = dataset.dim
        if declined := method.declines(dataset, network):
            self.end("skipped", declined)
            return
        data = points(trial, dataset, device)
        self._method = resolve(method, data.train)
        self._start = partial(_start, trial, self._method, dataset, network, data)
        self.training = self._start()
        if trial.lane != "cost":
            self._evaluator = Evaluator(trial, dataset, data, self._method, self.training.module)

    def go(self) -> None:
        """From the first line to the last."""
        self.prepare()
        training = self.training
        if training is None:
            return
        if self.trial.lane == "cost":
            training.sliced = True
            self._train_until(1.0)
            if self.trial.repeat == 0:  # once per cell, and on a twin: counting takes time
                self._flops = self._start().count_flops()
        else:
            self.checkpoint()
            for share, costly in stops(self.trial, lambda: training.progress):
                self._train_until(share)
                self.checkpoint(costly=costly)
        self.finish()

    def finish(self) -> None:
        """What follows on the last step and its evaluation."""
        assert self.training is not None
        if self._evaluator is not None and self.trial.pictures:
            with self.training.meter.phase("evaluation"):
                self._samples = self._evaluator.picture()
        self.training.check_parameters()
        self.end("ok")

    def _train_until(self, share: float) -> None:
        """Steps until this share of the budget is used up."""
        assert self.training is not None
        begin = time.process_time()
        while self.training.progress < share:
            self.training.step()
            if self.stepped is not None:
                self.stepped(self.training)
            if time.monotonic() > self.deadline:
                steps = self.training.steps
                raise DeadlineError(f"{self.trial.timeout:g} s passed after {steps} steps")
        self.training.settle()
        self.cpu += time.process_time() - begin

    def checkpoint(self, *, costly: bool = False) -> None:
        """One evaluation; at the end of the budget with every metric."""
        training, evaluator = self.training, self._evaluator
        assert training is not None
        final = training.progress == 1  # a budget of few steps is used up before its last share
        if final:
            training.check_parameters()
        where = {
            "id": self.trial.id,
            "attempt": self.number,
            "step": training.steps,
            "passes": training.meter.passes.total,
            "wall": training.meter.training_seconds,
        }
        for name, value in training.flush_logs().items():
            # NaN: the method does not know this diagnostic with its settings.
            if math.isfinite(value):
                self.curve.append(
                    {**where, "metric": f"log_{name}", "source": "", "value": value, "trusted": True}
                )
        if evaluator is None:
            return
        with training.meter.phase("evaluation"):
            self.curve += evaluator.rows(where, training.state, costly=costly or final, final=final)

    def record(self) -> Record:
        """Everything known about this attempt."""
        trial = self.trial
        trusted, distrust = self.watch.verdict(
            exclusive=self.place.exclusive, threads_asked=self.place.threads, threads=torch.get_num_threads()
        )
        if self.together > 1:
            trusted = False
            distrust = "; ".join(
                filter(None, (f"trained together with {self.together - 1} other seeds", distrust))
            )
        columns = {
            **self.known,
            "dim": self._dim,
            "status": self.status,
            "reason": self.reason,
            "traceback": self._trace,
            "last_steps": last_steps(self._last),
            "attempt": self.number,
            "memory": self.watch.peak_memory or None,
            "cpu": self.cpu,
            "threads": torch.get_num_threads(),
            "device": self.place.device,
            "together": self.together,
            "trusted": trusted,
            "distrust": distrust,
            "env": self.place.env["env"],
            "started": self.started,
            # Their difference holds although the machine's clock may be set meanwhile.
            "finished": self.started + timedelta(seconds=time.monotonic() - self._begin),
            **self._measured(),
        }
        return Record(
            trial=row("trials", columns),
            curve=tuple(row("curve", values) for values in self.curve),
            env=self.place.env,
            samples=tuple(row("samples", values) for values in self._samples),
            model=self._model() if self.status == "ok" and trial.lane == "quality" else None,
        )

    def _measured(self) -> dict[str, Any]:
        training = self.training
        if training is None or self._method is None:
            return {"steps": 0}
        meter = training.meter
        median, spread = training.step_seconds() if self.trial.lane == "cost" else (None, None)
        return {
            "resolved": _settings(self._method),
            "optimiser": canonical(training.optimiser_settings()),
            "parameters": sum(p.numel() for player in training.players.values() for p in player.parameters),
            "steps": training.steps,
            **{f"passes_{kind}": value for kind, value in asdict(meter.passes).items()},
            "passes": meter.passes.total,
            "executed": meter.executed,
            "opponents": canonical({name: asdict(work) for name, work in meter.opponents.items()}),
            "noise_samples": float(meter.noise_samples),
            "transitions": float(meter.transitions),
            **{f"wall_{phase}": seconds for phase, seconds in meter.seconds.items()},
            "wall": meter.training_seconds,
            "first_call": training.first_call,
            "step_seconds": median,
            "step_seconds_iqr": spread,
            "meter_share": training.meter_share() if self.trial.lane == "cost" else None,
            "flops": self._flops,
        }

    def _model(self) -> bytes | None:
        from safetensors.torch import save

        assert self.training is not None
        tensors = {f"network.{name}": t.contiguous() for name, t in self.training.module.state_dict().items()}
        for player, module in self.training.state.params.items():
            tensors |= {f"params.{player}.{name}": t.contiguous() for name, t in module.state_dict().items()}
        tensors |= {f"buffers.{name}": t.contiguous() for name, t in self.training.state.buffers.items()}
        model: bytes = save(tensors)
        return model if len(model) <= MODEL_BYTES else None


def last_steps(steps: Sequence[LastStep]) -> str | None:
    """JSON of the steps; six digits, and what is not finite is a word, since JSON has no such numbers."""

    def number(x: float | None) -> float | str | None:
        return x if x is None else float(f"{x:.6g}") if math.isfinite(x) else str(x)

    rows = [{**asdict(s), "loss": number(s.loss), "gradient": number(s.gradient)} for s in steps]
    return canonical(rows) if rows else None


def _classify(error: BaseException, phase: str) -> tuple[str, str]:
    """Status and reason; an ``error`` that passed no phase of the meter came up in ``phase``."""
    text = " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])[:500]
    words = ("out of memory", "can't allocate memory", "cannot allocate memory")
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in words):
        return "oom", f"in {getattr(error, 'phase', phase)}: {text}"
    return "crashed", text


def stops(trial: Trial, progress: Callable[[], float]) -> Iterator[tuple[float, bool]]:
    """Shares of the budget at which to evaluate, log-spaced from 1/128 to exactly 1, in training's order.

    With each, whether costly metrics are due: at every n/costly-th of n checkpoints; one that a long step has
    passed over is made up for at the next.
    """
    n, wanted = trial.checkpoints, 0
    for i in range(n):
        share = 128 ** (i / (n - 1) - 1) if i < n - 1 else 1.0
        wanted += (i + 1) * trial.costly // n - i * trial.costly // n
        if progress() < share:
            yield share, wanted > 0
            wanted = 0


def _start(trial: Trial, method: Method, dataset: Dataset, network: Network, data: Points) -> Training:
    """The training before its first step, the same each time."""
    return begin(trial, method, dataset, built(trial, method, dataset, network, data), data)


def built(trial: Trial, method: Method, dataset: Dataset, network: Network, data: Points) -> nn.Module:
    """The freshly initialised network of a trial."""
    device = data.train.device
    key = (trial.dataset.name, trial.dataset.content, trial.seed)
    weights = Rng.of("weights", trial.network.name, trial.network.args, *key, device=device)
    more: dict[str, Any] = {"dataset": dataset} if network.of_target else {}
    if (heads := method.heads(dataset.dim)) > 1:
        more["heads"] = heads
    return network.build(data.train, weights, **more)


def begin(trial: Trial, method: Method, dataset: Dataset, module: nn.Module, data: Points) -> Training:
    """The training of a module before its first step; numbers are drawn in the type of the data."""
    key = (trial.dataset.name, trial.dataset.content, trial.seed)
    like: dict[str, Any] = {"device": data.train.device, "dtype": data.train.dtype}
    stream = batches(dataset, trial.budget.batch, trial.n_train, data.train, Rng.of("data", *key, **like))
    rng = Rng.of("method", trial.method.name, trial.method.args, *key, **like)
    return Training(method, module, data.train, stream, rng, trial.budget, trial.optimiser)


def _settings(method: Method) -> str:
    values = {f.name: getattr(method, f.name) for f in fields(method)}  # type: ignore[arg-type]
    return canonical({name: "auto" if isinstance(v, Auto) else v for name, v in values.items()})
