"""Counting and timing: what a training step does and how long each part of it takes.

The unit of work is the pass F, one forward of the energy on one point. An input gradient costs about 1 F
more; the backward pass through an energy costs 2 F, through a score or a Hessian-vector product 4 F.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields

import torch

ENERGY = "energy"  # the player that every method has
PHASES = ("data", "sampling", "loss", "backward", "optimiser", "evaluation")


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


class Meter:
    """Counts passes and shares the wall-clock among phases.

    ``graph`` is the cost of the backward pass to a player's parameters through everything recorded for a
    gradient since the last ``commit``, ``through`` that of the gradient which an opponent's loss sends back
    through the energy to its input; the training loop commits what it really runs.

    An opponent's passes are counted apart, in forwards of its own network.

    Args:
        device: the device to synchronise with at each change of phase.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._counts: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.transitions = 0
        self.noise_samples = 0
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._graph: defaultdict[str, float] = defaultdict(float)
        self._through = 0.0
        self._phase: str | None = None
        self._since = 0.0

    def count(
        self, n: float, *, player: str = ENERGY, graph: float = 0, through: float = 0, **kinds: float
    ) -> None:
        """Adds ``kinds`` (F per point) for ``n`` points; a backward would cost ``graph`` F per point more."""
        for kind, passes in kinds.items():
            self._counts[player][kind] += passes * n
        if torch.is_grad_enabled():
            self._graph[player] += graph * n
            self._through += through * n

    def commit(self, *players: str) -> None:
        """The backward passes of the losses of ``players`` through the recorded graph have been run."""
        for player in players or (ENERGY,):
            self._counts[player]["backward"] += self._graph[player]
            if player != ENERGY:
                self._counts[ENERGY]["input_gradient"] += self._through
        self._graph.clear()
        self._through = 0.0

    @property
    def passes(self) -> Passes:
        """Work on the energy so far, in points x F."""
        return Passes(**self._counts[ENERGY])

    @property
    def opponents(self) -> dict[str, Passes]:
        """Work on each opponent so far, in points x forwards of the opponent."""
        return {name: Passes(**counts) for name, counts in self._counts.items() if name != ENERGY}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time spent inside belongs to ``name`` alone, not to the phase around it."""
        outer = self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, name: str | None) -> str | None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        outer = self._phase
        if outer is not None:
            self.seconds[outer] += now - self._since
        self._phase, self._since = name, now
        return outer

    def restart_clock(self) -> None:
        """Forgets the seconds so far, outside any phase; the counts stay."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @property
    def training_seconds(self) -> float:
        """Wall-clock of every phase but evaluation."""
        return sum(seconds for name, seconds in self.seconds.items() if name != "evaluation")
