"""Executes one trial, on whatever machine this is: a trial in, a record out, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import math
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ebmark import registry
from ebmark.api import Auto, Dataset, Method, Network, Rng, resolve
from ebmark.evaluate import Evaluator, Points, points
from ebmark.plan import plain_name
from ebmark.record import SCHEMA, Record, Row, row
from ebmark.sources import code_hash
from ebmark.train import DivergedError, Training, batches
from ebmark.trial import Trial, canonical
from ebmark.trust import Watch

MODEL_BYTES = 1_000_000  # larger networks are not stored
# What a trained number depends on; a change in any of these makes earlier results stale.
SOURCES = (
    "api",
    "base",
    "chains",
    "estimate",
    "evaluate",
    "execute",
    "floors",
    "flows",
    "log_z",
    "meter",
    "modules",
    "noise",
    "ops",
    "opponents",
    "optimisers",
    "pairs",
    "probe",
    "quadrature",
    "reverse",
    "rng",
    "samplers",
    "smc",
    "together",
    "train",
)


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


def execute(trial: Trial, place: Place, attempt: int = 1) -> Record:
    """Trains and evaluates; a failure is a record with a status and a reason, never an exception.

    Raises:
        KeyboardInterrupt: the user wants to stop.
    """
    torch.set_num_threads(place.threads)
    run = _Run(trial, place, attempt)
    status, reason, trace = "ok", "", None
    with run.watch:
        try:
            status, reason = run.go()
        except DivergedError as error:
            status, reason = "diverged", str(error)
        except DeadlineError as error:
            status, reason = "timeout", str(error)
        except MemoryError as error:
            status, reason = "oom", str(error) or "memory ran out"
        except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; the row says what
            status, reason = _classify(error)
            trace = traceback.format_exc()
    return run.record(status, reason, trace)


def lost(trial: Trial, place: Place, attempt: int, status: str, reason: str) -> Record:
    """The record of a trial that did not come back: cancelled, killed at its deadline, or its worker died."""
    return _Run(trial, place, attempt).record(status, reason, None)


def _classify(error: Exception) -> tuple[str, str]:
    text = f"{type(error).__name__}: {error}".splitlines()[0][:500]
    memory = ("out of memory", "can't allocate memory", "cannot allocate memory")
    return ("oom" if any(words in str(error).lower() for words in memory) else "crashed"), text


class _Run:
    """One attempt at a trial: what is known of it so far, from which the record is made at any moment."""

    def __init__(self, trial: Trial, place: Place, attempt: int) -> None:
        self.trial, self.place, self.attempt = trial, place, attempt
        self.watch = Watch(place.device)
        self.started = datetime.now(UTC)
        self.deadline = math.inf if trial.timeout is None else time.monotonic() + trial.timeout
        self.training: Training | None = None
        self.method: Method | None = None
        self.module: nn.Module | None = None
        self.dim: int | None = None
        self.cpu = 0.0
        self.flops: float | None = None
        self.curve: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []

    def go(self) -> tuple[str, str]:
        """Trains to the end of the budget; returns status and reason."""
        trial = self.trial
        device = torch.device(self.place.device)
        method, dataset, network = (registry.make(r) for r in (trial.method, trial.dataset, trial.network))
        self.dim = dataset.dim
        if declined := method.declines(dataset, network):
            return "skipped", declined
        data = points(trial, dataset, device)
        self.method = resolve(method, data.train)
        self.training = self._start(dataset, network, data)
        self.module = self.training.module
        if trial.lane == "cost":
            self.training.sliced = True
            self._train_until(1.0)
            if trial.repeat == 0:  # once per cell, and on a twin: counting takes time
                self.flops = self._start(dataset, network, data).count_flops()
        else:
            self._train_and_evaluate(Evaluator(trial, dataset, data, self.method, self.module))
        self.training.check_parameters()
        return "ok", ""

    def _start(self, dataset: Dataset, network: Network, data: Points) -> Training:
        """The training before its first step, the same each time."""
        trial, device = self.trial, data.train.device
        assert self.method is not None
        key = (trial.dataset.name, trial.dataset.content, trial.seed)
        weights = Rng.of("weights", trial.network.name, trial.network.args, *key, device=device)
        more: dict[str, Any] = {"dataset": dataset} if network.of_target else {}
        if (heads := self.method.heads(dataset.dim)) > 1:
            more["heads"] = heads
        module = network.build(data.train, weights, **more)
        stream = batches(
            dataset, trial.budget.batch, trial.n_train, data.train, Rng.of("data", *key, device=device)
        )
        rng = Rng.of("method", trial.method.name, trial.method.args, *key, device=device)
        return Training(self.method, module, data.train, stream, rng, trial.budget, trial.optimiser)

    def _train_and_evaluate(self, evaluator: Evaluator) -> None:
        assert self.training is not None
        self._checkpoint(evaluator)
        n, wanted = self.trial.checkpoints, 0
        for i, share in enumerate(_log_spaced(n)):
            # Every n/costly-th checkpoint; one that a long step has passed over is made up for at the next.
            wanted += (i + 1) * self.trial.costly // n - i * self.trial.costly // n
            if self.training.progress < share:
                self._train_until(share)
                final = self.training.progress == 1  # a budget of few steps is used up before its last share
                self._checkpoint(evaluator, costly=wanted > 0 or final, final=final)
                wanted = 0
        if self.trial.pictures:
            with self.training.meter.phase("evaluation"):
                self.samples = evaluator.picture()

    def _train_until(self, share: float) -> None:
        """Steps until this share of the budget is used up."""
        assert self.training is not None
        begin = time.process_time()
        while self.training.progress < share:
            self.training.step()
            if time.monotonic() > self.deadline:
                steps = self.training.steps
                raise DeadlineError(f"{self.trial.timeout:g} s passed after {steps} steps")
        self.training.settle()
        self.cpu += time.process_time() - begin

    def _checkpoint(self, evaluator: Evaluator, *, costly: bool = False, final: bool = False) -> None:
        training = self.training
        assert training is not None
        if final:
            training.check_parameters()
        where = {
            "id": self.trial.id,
            "attempt": self.attempt,
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
        with training.meter.phase("evaluation"):
            self.curve += evaluator.rows(where, training.state, costly=costly, final=final)

    def record(self, status: str, reason: str, trace: str | None) -> Record:
        """Everything known about this attempt."""
        trial = self.trial
        trusted, distrust = self.watch.verdict(
            exclusive=self.place.exclusive, threads_asked=self.place.threads, threads=torch.get_num_threads()
        )
        columns = {
            **_identity(trial),
            "dim": self.dim,
            "status": status,
            "reason": reason,
            "traceback": trace,
            "attempt": self.attempt,
            "memory": self.watch.peak_memory or None,
            "cpu": self.cpu,
            "threads": torch.get_num_threads(),
            "device": self.place.device,
            "trusted": trusted,
            "distrust": distrust,
            "env": self.place.env["env"],
            "started": self.started,
            "finished": datetime.now(UTC),
            **self._measured(),
        }
        return Record(
            trial=row("trials", columns),
            curve=tuple(row("curve", values) for values in self.curve),
            env=self.place.env,
            samples=tuple(row("samples", values) for values in self.samples),
            model=self._model() if status == "ok" and trial.lane == "quality" else None,
        )

    def _measured(self) -> dict[str, Any]:
        training = self.training
        if training is None or self.method is None:
            return {"steps": 0}
        meter = training.meter
        median, spread = training.step_seconds() if self.trial.lane == "cost" else (None, None)
        return {
            "resolved": _settings(self.method),
            "optimiser": canonical(training.optimiser_settings()),
            "parameters": sum(p.numel() for player in training.players.values() for p in player.parameters),
            "steps": training.steps,
            **{f"passes_{kind}": value for kind, value in asdict(meter.passes).items()},
            "passes": meter.passes.total,
            "executed": meter.passes.total,
            "opponents": canonical({name: asdict(work) for name, work in meter.opponents.items()}),
            "noise_samples": float(meter.noise_samples),
            "transitions": float(meter.transitions),
            **{f"wall_{phase}": seconds for phase, seconds in meter.seconds.items()},
            "wall": meter.training_seconds,
            "first_call": training.first_call,
            "step_seconds": median,
            "step_seconds_iqr": spread,
            "meter_share": training.meter_share() if self.trial.lane == "cost" else None,
            "flops": self.flops,
        }

    def _model(self) -> bytes | None:
        from safetensors.torch import save

        assert self.module is not None and self.training is not None
        tensors = {f"network.{name}": t.contiguous() for name, t in self.module.state_dict().items()}
        for player, module in self.training.state.params.items():
            tensors |= {f"params.{player}.{name}": t.contiguous() for name, t in module.state_dict().items()}
        tensors |= {f"buffers.{name}": t.contiguous() for name, t in self.training.state.buffers.items()}
        model: bytes = save(tensors)
        return model if len(model) <= MODEL_BYTES else None


def _log_spaced(n: int) -> Iterator[float]:
    """``n`` shares of the budget, log-spaced from 1/128 to exactly 1."""
    yield from (128 ** (i / (n - 1) - 1) for i in range(n - 1))
    yield 1.0


def _settings(method: Method) -> str:
    values = {f.name: getattr(method, f.name) for f in fields(method)}  # type: ignore[arg-type]
    return canonical({name: "auto" if isinstance(v, Auto) else v for name, v in values.items()})


def _identity(trial: Trial) -> dict[str, Any]:
    """The columns that are known before a trial runs."""
    budget = {name: value for name, value in asdict(trial.budget).items() if value is not None}
    return {
        "id": trial.id,
        "schema": SCHEMA,
        "study": trial.study,
        "lane": trial.lane,
        "repeat": trial.repeat,
        "method": plain_name(trial.method.name),
        "method_label": registry.label(trial.method),
        "method_args": trial.method.args,
        "dataset": plain_name(trial.dataset.name),
        "dataset_label": registry.label(trial.dataset),
        "dataset_args": trial.dataset.args,
        "dim": json.loads(trial.dataset.args).get("dim"),
        "network": plain_name(trial.network.name),
        "network_args": trial.network.args,
        "seed": trial.seed,
        "budget": json.dumps(budget),
        "batch": trial.budget.batch,
        "rate_factor": trial.factor,
        "code": code_version(trial),
    }


def code_version(trial: Trial) -> str:
    """A hash of the sources that the trial's numbers depend on."""
    parts = [
        _harness_hash(),
        *(registry.source_hash(r) for r in (trial.method, trial.dataset, trial.network)),
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


@cache
def _harness_hash() -> str:
    folder = Path(__file__).parent
    return code_hash(folder / f"{name}.py" for name in SOURCES)
