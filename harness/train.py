"""The training loop: one optimiser step at a time, timed and counted, for any method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Meter, Method, Passes, Rng, State, Step
from ebmark.flops import FlopCounter
from ebmark.optimisers import OPTIMISERS
from ebmark.recent import LastStep, Recent
from ebmark.step_times import StepTimes
from ebmark.trial import Budget, Optimiser

# Over 200 lines: budget, rates, clock and losses are parts of one step, which a group of runs overrides.
LR = 2e-3  # of a player that declares none
SLICE = (
    3  # steps between changes of what the meter divides; odd, so that no schedule of players falls in with it
)
SMALL = 4096  # numbers in a gradient that is kept whole: its norm is taken only if somebody asks for it
LOOK = 16  # steps between looks at what a GPU computed: each look waits for it


class DivergedError(Exception):
    """The loss or a parameter is no longer a finite number.

    Attributes:
        last: the steps up to it.
    """

    def __init__(self, message: str, last: tuple[LastStep, ...] = ()) -> None:
        super().__init__(message)
        self.last = last


def planned_steps(budget: Budget, per_point: Passes) -> float:
    """Steps after which the budget in steps or passes is used up; infinite for a budget in seconds alone."""
    steps = math.inf if budget.steps is None else budget.steps
    if budget.passes is not None:
        steps = min(steps, whole_steps(budget, budget.passes, per_point))
    return steps


def whole_steps(budget: Budget, passes: float, per_point: Passes) -> int:
    """Whole steps of the full cost that ``passes`` pay for, at least one."""
    return max(1, math.floor(passes / (budget.batch * per_point.total)))


@dataclass(frozen=True, kw_only=True)
class Player:
    """Whose parameters a loss steps, and with what."""

    parameters: tuple[nn.Parameter, ...]
    optimiser: torch.optim.Optimizer
    lr: float

    @cached_property
    def small(self) -> bool:
        """Whether the gradients of several steps take next to no memory."""
        return sum(p.numel() for p in self.parameters) <= SMALL


class Training:
    """One run of a method on an energy: ``step`` until ``progress`` is 1.

    Args:
        method: with every ``auto`` setting resolved.
        module: the network, changed in place.
        data: the training set, or a fixed draw from a stream ``(n, d)``; for ``Method.init`` only.
        stream: the batches.
        rng: the stream of the method's own randomness.
        budget: when it ends.
        optimiser: for every player, overridden by the method's declarations.
        state: the first state, where it is not ``method.init`` that makes it.

    Attributes:
        meter: passes and seconds; ``first_call`` holds the first step's seconds, which are in no phase.
        sliced: the meter divides every other slice of steps only, so that its own price shows.
        step_times: seconds of each later step without making its batch.
        logs: sums of the diagnostics since ``flush_logs``.
        recent: the newest losses and gradient norms.
    """

    def __init__(
        self,
        method: Method,
        module: nn.Module,
        data: Tensor,
        stream: Iterator[Tensor],
        rng: Rng,
        budget: Budget,
        optimiser: Optimiser,
        state: State | None = None,
    ) -> None:
        self.method, self.module, self.stream, self.rng, self.budget = method, module, stream, rng, budget
        self.data, self.optimiser = data, optimiser
        self.state = state or method.init(Energy(module), data, rng.split("init"))
        self.meter = Meter(data.device)
        self.energy = Energy(module, self.meter)
        self.players = _players(method, module, self.state, optimiser)
        self.steps = 0
        self.per_point = method.passes(data.shape[-1])
        self.first_call = 0.0
        self.sliced = False
        self.step_times = StepTimes()
        self._look = LOOK if data.is_cuda else 1
        self.recent = Recent(late=self._look)
        self._spent = 0.0
        self._laps: list[tuple[tuple[frozenset[str], bool], Any, Any]] = []
        self._unseen: list[tuple[int, str, Tensor]] = []
        self.logs: dict[str, tuple[Tensor, int]] = {}

    @property
    def progress(self) -> float:
        """The share of the budget that is used up: 1 when the run is over."""
        budget, shares = self.budget, [0.0]
        if budget.steps is not None:
            shares.append(self.steps / budget.steps)
        if budget.passes is not None:
            # By what was spent, since a step in which a player rests costs less.
            whole = whole_steps(budget, budget.passes, self.per_point) * budget.batch * self.per_point.total
            shares.append(self.passes / whole)
        if budget.seconds is not None:
            shares.append(self._spent / budget.seconds)
        return min(max(shares), 1.0)

    @property
    def passes(self) -> float:
        """Work on the energy so far, in points x F."""
        return self.meter.passes.total

    def step(self) -> None:
        """One update of every player that the method's loss names.

        Raises:
            DivergedError: a loss is not finite; on a GPU up to ``LOOK`` steps later.
        """
        self._set_rates()
        meter = self.meter
        meter.divided = not self.sliced or self.steps // SLICE % 2 == 0
        with meter.phase("data"):
            x = next(self.stream)
        begin = meter.clock.mark()
        with meter.phase("loss"):
            step = self.method.step(self.energy, x, self.state, self.rng)
            self.check_losses(step)
            self._descend(step)
        self.state = step.state
        self._laps.append(((frozenset(step.losses), meter.divided), begin, meter.clock.mark()))
        self._recall(step)  # outside every phase: no method pays for it
        self.steps += 1
        losses = {"loss" if who == "energy" else f"loss_{who}": loss for who, loss in step.losses.items()}
        self._log({**losses, **step.logs})
        if self.steps == 1:
            self.first_call = meter.training_seconds
            self._laps.clear()
            meter.restart_clock()
        if self.steps % self._look == 0:
            self.settle()

    def settle(self) -> None:
        """Reads what the device has finished: losses and times.

        Raises:
            DivergedError: a loss is not finite.
        """
        unseen, self._unseen = self._unseen, []
        if not _all_finite([loss for *_, loss in unseen]):
            first = next(seen for seen in unseen if not seen[-1].isfinite().all())
            raise self.diverged(*first, self.recent)
        for kind, begin, end in self._laps:
            self.step_times[kind].append(self.meter.clock.seconds(begin, end))
        self._laps.clear()
        if self.budget.seconds is not None:
            self._spent = self.meter.training_seconds

    def check_losses(self, step: Step) -> None:
        """Raises ``DivergedError`` if a loss is not finite; on a GPU it is read later, by ``settle``."""
        losses = {name: loss.detach() for name, loss in step.losses.items()}
        self.recent.losses(self.steps + 1, losses)
        self._unseen += [(self.steps + 1, name, loss) for name, loss in losses.items()]
        if self._look == 1:
            self.settle()

    def diverged(self, step: int, name: str, loss: Tensor, recent: Recent) -> DivergedError:
        """The loss of a player was not finite in a step."""
        return DivergedError(f"the loss of {name} is {loss.item()} at step {step}", recent.until(step))

    def _recall(self, step: Step) -> None:
        for name in step.losses:
            player = self.players[name]
            gradients = [p.grad for p in player.parameters if p.grad is not None]
            if gradients:  # the next step makes new ones and leaves these alone
                norms = partial(self.norms, gradients)
                self.recent.gradients(name, norms if player.small else partial(list, norms()))

    def norms(self, gradients: list[Tensor]) -> list[Tensor]:
        """The norm ``(...)`` of each gradient."""
        return list(torch._foreach_norm(gradients))

    def _set_rates(self) -> None:
        if self.optimiser.schedule != "cosine":
            return
        factor = 0.5 * (1 + math.cos(math.pi * self.progress))
        for player in self.players.values():
            for group in player.optimiser.param_groups:
                group["lr"] = player.lr * factor

    def _descend(self, step: Step) -> None:
        with self.meter.phase("backward"):
            for i, (name, loss) in enumerate(step.losses.items()):
                parameters = self.players[name].parameters
                for p in parameters:  # what the optimiser's own zero_grad does, without its bookkeeping
                    p.grad = None
                more = i < len(step.losses) - 1
                loss = loss.sum() if loss.dim() else loss
                torch.autograd.backward([loss], inputs=parameters, retain_graph=more)
            self.meter.commit(*step.losses)
        with self.meter.phase("optimiser"):
            for name in step.losses:
                self.players[name].optimiser.step()

    def _log(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            total, count = self.logs.get(name, (0.0, 0))
            self.logs[name] = (total + value.detach(), count + 1)

    def flush_logs(self) -> dict[str, float]:
        """The mean of each diagnostic since the last call."""
        means = {name: float(total) / count for name, (total, count) in self.logs.items()}
        self.logs = {}
        return means

    def step_seconds(self) -> tuple[float, float]:
        """Median and interquartile range of the seconds per step without the first calls; NaN before any."""
        self.settle()
        return self.step_times.typical()

    def meter_share(self) -> float:
        """What dividing a step among phases adds to its seconds, as a share; NaN before any without."""
        self.settle()
        return self.step_times.meter_share()

    def count_flops(self) -> float:
        """Makes a step and returns its floating-point operations, without those of making its batch."""
        self.stream = itertools.chain([next(self.stream)], self.stream)
        with FlopCounter() as counter:
            self.step()
        return float(counter.flops)

    def check_parameters(self) -> None:
        """Raises ``DivergedError`` if a loss or a parameter is not finite."""
        self.settle()
        for player in self.players.values():
            if not all(torch.isfinite(p).all() for p in player.parameters):
                text = f"a parameter is not finite after step {self.steps}"
                raise DivergedError(text, self.recent.until(self.steps))

    def optimiser_settings(self) -> dict[str, dict[str, Any]]:
        """The settings in use, by player."""
        return {
            name: {
                "lr": player.lr,
                **({"betas": list(defaults["betas"])} if "betas" in defaults else {}),
                "schedule": self.optimiser.schedule,
            }
            for name, player in self.players.items()
            if (defaults := player.optimiser.defaults)
        }


def own_rate(method: Method) -> float:
    """The rate of the energy's optimiser where the study gives none."""
    return float(method.players.get("energy", {}).get("lr", LR))


def _all_finite(losses: list[Tensor]) -> bool:
    if len(losses) == 1 and not losses[0].dim():  # most steps: one number instead of three small tensors
        return math.isfinite(losses[0].item())
    return not losses or bool(torch.stack(losses).isfinite().all())


def _players(method: Method, module: nn.Module, state: State, settings: Optimiser) -> dict[str, Player]:
    players = {}
    for name in ("energy", *(name for name in state.params if name != "energy")):
        own = [*state.params[name].parameters()] if name in state.params else []
        parameters = tuple([*module.parameters(), *own] if name == "energy" else own)
        declared = method.players.get(name, {})
        lr = declared.get("lr", LR)
        if settings.lr is not None:  # the energy's; an opponent keeps its declared ratio to it
            lr = lr / own_rate(method) * settings.lr
        betas = (declared.get("beta1", settings.beta1), declared.get("beta2", settings.beta2))
        optimiser = OPTIMISERS[settings.name](parameters, lr, betas)
        players[name] = Player(parameters=parameters, optimiser=optimiser, lr=lr)
    return players
