"""One attempt at a trial: training and evaluation up to its end, whatever that is, and the record of it."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import torch

from ebmark import course, readings, registry
from ebmark.api import resolve
from ebmark.capture import captured, restore
from ebmark.evaluate import Evaluator, points
from ebmark.outcome import last_steps, measured, model
from ebmark.place import Place
from ebmark.recent import LastStep
from ebmark.record import Record, Row, row
from ebmark.saves import Saver
from ebmark.train import DivergedError, Training
from ebmark.trial import Trial
from ebmark.trust import Watch

# Longer than most: what is known of an attempt at any moment is one thing, and so is its record.


class DeadlineError(Exception):
    """The trial has had its time."""


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
        continued: steps that an earlier attempt had made when it was saved, from where this one goes on.
    """

    def __init__(self, trial: Trial, place: Place, number: int, known: Row) -> None:
        self.trial, self.place, self.number, self.known = trial, place, number, known
        self.watch = Watch(place.device)
        self.started, self._begin = datetime.now(UTC), time.monotonic()
        self._earlier = 0.0  # seconds that earlier attempts had spent on what this one goes on from
        self.deadline = math.inf if trial.timeout is None else self._begin + trial.timeout
        self.training: Training | None = None
        self.together = 1
        self.status, self.reason = "", ""
        self.cpu = 0.0
        self.continued = 0
        self._saver: Saver | None = None
        self._trace: str | None = None
        self._last: Sequence[LastStep] = ()
        self._evaluator: Evaluator | None = None
        self._dim: int | None = known.get("dim")  # None where only the data set knows, once made
        self._flops: float | None = None
        self.stepped: Callable[[Training], object] | None = None
        self.curve: list[dict[str, Any]] = []
        self._reached = 0.0  # share of the budget at the last evaluation
        self._memory = 0  # peak memory of earlier attempts
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a plug-in may raise anything; the row says what
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
        method = resolve(method, data.train)
        self._start = partial(course.start, trial, method, dataset, network, data)
        self.training = self._start()
        if trial.lane != "cost":
            self._evaluator = Evaluator(trial, dataset, data, method, self.training.module, network)

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
            self._saver = Saver(self.place.saves, self.trial, self.known["code"], self.place.device)
            if not self._continue():
                self.checkpoint()
            for share, costly in course.stops(self.trial, lambda: training.progress, self._reached):
                self._train_until(share)
                self.checkpoint(costly=costly)
                self._reached = share
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
            now = time.monotonic()
            if now > self.deadline:
                steps = self.training.steps
                raise DeadlineError(f"{self.trial.timeout:g} s passed after {steps} steps")
            if self._saver is not None and self._saver.due(now):
                self.cpu += time.process_time() - begin
                self._save(self._saver)
                begin = time.process_time()
        self.training.settle()
        self.cpu += time.process_time() - begin

    def _save(self, saver: Saver) -> None:
        """Stores everything that another attempt needs to go on from here."""
        assert self.training is not None
        tensors, rest = captured(self.training)
        own = {
            "attempt": self.number,
            "seconds": time.monotonic() - self._begin + self._earlier,
            "cpu": self.cpu,
            "memory": max(self._memory, readings.peak_memory(self.place.device)),
            "reached": self._reached,
            "curve": self.curve,
        }
        saver.save(tensors, rest | own)

    def _continue(self) -> bool:
        """Goes on from where an earlier attempt was saved; False where none was."""
        saved = self._saver.load() if self._saver is not None else None
        if saved is None or self.training is None:
            return False
        restore(self.training, saved)
        rest = saved.rest
        self.number = max(self.number, rest["attempt"] + 1)
        self._earlier, self.deadline = rest["seconds"], self.deadline - rest["seconds"]
        self.cpu, self._memory = rest["cpu"], rest["memory"]
        self._reached, self.curve = rest["reached"], rest["curve"]
        self.continued = self.training.steps
        return True

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

    def began(self, seconds: float) -> None:
        """It runs since so many seconds, in a process from which nothing comes back."""
        self.started, self._begin = self.started - timedelta(seconds=seconds), self._begin - seconds

    def record(self) -> Record:
        """Everything known about this attempt."""
        trial = self.trial
        trusted, distrust = self.watch.verdict(
            exclusive=self.place.exclusive, threads_asked=self.place.threads, threads=torch.get_num_threads()
        )
        own = []
        if self.together > 1:
            own.append(f"trained together with {self.together - 1} other seeds")
        if self.continued:
            own.append(f"continued after {self.continued} steps of an earlier attempt")
        columns = {
            **self.known,
            "dim": self._dim,
            "status": self.status,
            "reason": self.reason,
            "traceback": self._trace,
            "last_steps": last_steps(self._last),
            "attempt": self.number,
            "memory": max(self.watch.peak_memory, self._memory) or None,
            "cpu": self.cpu,
            "threads": torch.get_num_threads(),
            "device": self.place.device,
            "together": self.together,
            "continued": self.continued,
            "trusted": trusted and not own,
            "distrust": "; ".join(filter(None, (*own, distrust))),
            "env": self.place.env["env"],
            "started": self.started,
            # Their difference holds although the machine's clock may be set meanwhile.
            "finished": self.started + timedelta(seconds=time.monotonic() - self._begin),
            "flops": self._flops,
            **(measured(self.training, timed=trial.lane == "cost") if self.training else {"steps": 0}),
        }
        fitted = self.training if self.status == "ok" and trial.lane == "quality" else None
        return Record(
            trial=row("trials", columns),
            curve=tuple(row("curve", values) for values in self.curve),
            env=self.place.env,
            samples=tuple(row("samples", values) for values in self._samples),
            model=model(fitted) if fitted else None,
        )


def _classify(error: BaseException, phase: str) -> tuple[str, str]:
    """Status and reason; an ``error`` that passed no phase of the meter came up in ``phase``."""
    text = " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])[:500]
    words = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error).lower() for word in words
    ):
        return "oom", f"in {getattr(error, 'phase', phase)}: {text}"
    return "crashed", text
