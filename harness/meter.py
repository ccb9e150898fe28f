"""Counting and timing: what a training step does and how long each part of it takes.

The unit of work is the pass F, one forward of the energy on one point. An input gradient costs about 1 F
more; the backward pass through an energy costs 2 F, through a score or a Hessian-vector product 4 F.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

ENERGY = "energy"  # the player that every method has
PHASES = ("data", "sampling", "loss", "backward", "optimiser", "evaluation")
DIVISIBLE = ("sampling", "loss", "backward", "optimiser")  # the phases of a step once it has its batch
SPANS = 1024  # spans that wait to be read: reading one on a GPU waits for the device


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Work in F by kind. Declared per data point and step by a method; counted in points by the meter."""

    forward: float = 0
    input_gradient: float = 0
    second_order: float = 0
    backward: float = 0

    @property
    def total(self) -> float:
        """The sum over the kinds, in F."""
        return self.forward + self.input_gradient + self.second_order + self.backward

    def __add__(self, other: Passes) -> Passes:
        return Passes(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Passes)})

    def __mul__(self, n: float) -> Passes:
        return Passes(**{kind: n * value for kind, value in asdict(self).items()})

    __rmul__ = __mul__


class HostClock:
    """The monotonic clock of this machine; a mark is a time in seconds."""

    def mark(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """From one mark to another."""
        return end - begin


class DeviceClock:
    """The clock of a CUDA device; a mark is an event in its stream, and setting one does not wait for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> torch.cuda.Event:
        """When the device has done everything that was asked of it so far."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # of torch
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """From one mark to another; waits for the later."""
        end.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3


class _Inside:
    """A phase of a meter. A class: a step enters four, and a generator takes twice as long."""

    __slots__ = ("_meter", "_name", "_outer", "_whole")

    def __init__(self, meter: Meter, name: str) -> None:
        self._meter, self._name = meter, name

    def __enter__(self) -> None:
        meter = self._meter
        self._whole = meter._phase is not None and not meter.divided  # the phase around it takes it all
        if not self._whole:
            self._outer = meter._switch(self._name)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._whole:
            return
        if error is not None:
            error.__dict__.setdefault("phase", self._name)  # the innermost tells where memory ran out
        self._meter._switch(self._outer)


class Meter:
    """Counts passes and shares the wall-clock among phases.

    ``graph`` is the cost of the backward pass to a player's parameters through everything recorded for a
    gradient since the last ``commit``, ``through`` that of the gradient which an opponent's loss sends back
    through the energy to its input; the training loop commits what it really runs.

    An opponent's passes are counted apart, in forwards of its own network.

    Args:
        device: whose clock tells the time.

    Attributes:
        divided: time every phase inside a step. Without it the time of a step goes to none in particular and
            is shared out as in the steps that were divided: so the price of dividing can be measured.
        executed: work on the energy so far in points x F as it ran; ``passes`` is what plain autograd needs.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        self.clock: Any = DeviceClock(device) if device.type == "cuda" else HostClock()
        self._counts: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.executed = 0.0
        self.transitions = 0
        self.noise_samples = 0
        self.divided = True
        self._seconds: defaultdict[str | None, float] = defaultdict(float)
        self._spans: list[tuple[str | None, Any, Any]] = []
        self._graph: defaultdict[str, float] = defaultdict(float)
        self._through = 0.0
        self._executed_graph = 0.0
        self._phase: str | None = None
        self._since: Any = None

    def count(
        self,
        n: float,
        *,
        player: str = ENERGY,
        graph: float = 0,
        through: float = 0,
        executed: tuple[float, float] | None = None,
        **kinds: float,
    ) -> None:
        """Adds ``kinds`` (F per point) for ``n`` points; a backward would cost ``graph`` F per point more.

        ``executed``: what both cost in the form that runs, where that is not plain autograd's.
        """
        counts, recorded = self._counts[player], torch.is_grad_enabled()
        for kind, passes in kinds.items():
            counts[kind] += passes * n
        if recorded:
            self._graph[player] += graph * n
            self._through += through * n
        if player == ENERGY:
            done, backward = executed or (sum(kinds.values()), graph)
            self.executed += done * n
            self._executed_graph += backward * n * recorded

    def commit(self, *players: str) -> None:
        """The backward passes of the losses of ``players`` through the recorded graph have been run."""
        for player in players or (ENERGY,):
            self._counts[player]["backward"] += self._graph[player]
            if player != ENERGY:
                self._counts[ENERGY]["input_gradient"] += self._through
            self.executed += self._executed_graph if player == ENERGY else self._through
        self._graph.clear()
        self._through = self._executed_graph = 0.0

    @property
    def passes(self) -> Passes:
        """Work on the energy so far, in points x F."""
        return Passes(**self._counts[ENERGY])

    @property
    def opponents(self) -> dict[str, Passes]:
        """Work on each opponent so far, in points x forwards of the opponent."""
        return {name: Passes(**counts) for name, counts in self._counts.items() if name != ENERGY}

    def hand_out(self, meters: Sequence[Meter]) -> None:
        """Gives each of the meters an equal part of all counts and seconds, and starts again from nothing."""
        self._settle()
        for meter in meters:
            for player, counts in self._counts.items():
                for kind, work in counts.items():
                    meter._counts[player][kind] += work / len(meters)
            meter.executed += self.executed / len(meters)
            meter.transitions += self.transitions // len(meters)
            meter.noise_samples += self.noise_samples // len(meters)
            for phase, seconds in self._seconds.items():
                meter._seconds[phase] += seconds / len(meters)
        self._counts.clear()
        self.executed = 0.0
        self.transitions = self.noise_samples = 0
        self.restart_clock()

    def state(self) -> dict[str, Any]:
        """Everything counted so far, as JSON holds it; between two steps."""
        self._settle()
        return {
            "counts": self._counts,
            "executed": self.executed,
            "transitions": self.transitions,
            "noise_samples": self.noise_samples,
            "seconds": self._seconds,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``state`` gave; what was counted before is forgotten."""
        self.restart_clock()
        self._seconds.update(state["seconds"])
        self._counts.clear()
        for player, counts in state["counts"].items():
            self._counts[player].update(counts)
        self.executed, self.transitions = state["executed"], state["transitions"]
        self.noise_samples = state["noise_samples"]

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time spent inside belongs to ``name`` alone, not to the phase around it."""
        return _Inside(self, name)

    def _switch(self, name: str | None) -> str | None:
        now, outer = self.clock.mark(), self._phase
        if outer is not None:
            whole = outer in DIVISIBLE and not self.divided
            self._spans.append((None if whole else outer, self._since, now))
            if len(self._spans) >= SPANS:
                self._settle()
        self._phase, self._since = name, now
        return outer

    def _settle(self) -> None:
        for name, begin, end in self._spans:
            self._seconds[name] += self.clock.seconds(begin, end)
        self._spans.clear()

    def restart_clock(self) -> None:
        """Forgets the seconds so far, outside any phase; the counts stay."""
        self._spans.clear()
        self._seconds.clear()

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock by phase; on a GPU this waits for the device."""
        self._settle()
        divided = sum(self._seconds[name] for name in DIVISIBLE)
        factor = 1 + self._seconds[None] / divided if divided else 1.0
        return {name: self._seconds[name] * (factor if name in DIVISIBLE else 1) for name in PHASES}

    @property
    def training_seconds(self) -> float:
        """Wall-clock of every phase but evaluation."""
        self._settle()
        return sum(seconds for name, seconds in self._seconds.items() if name != "evaluation")
