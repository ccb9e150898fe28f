"""The newest steps of a training, kept for when it diverges: each player's loss and gradient norm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

KEPT = 20  # steps that are told of


@dataclass(frozen=True, kw_only=True)
class LastStep:
    """What one step did to one player.

    Attributes:
        step: its number, from 1.
        player: whose loss it was.
        loss: its value.
        gradient: the norm of its gradient in all of the player's parameters; None where the loss was refused.
    """

    step: int
    player: str
    loss: float
    gradient: float | None = None


@dataclass(frozen=True)
class _Step:
    """A step as it is kept: on its device, so that nothing waits for it."""

    number: int
    losses: Mapping[str, Tensor]
    norms: dict[str, Callable[[], list[Tensor]]] = field(default_factory=dict)


class Recent:
    """A ring of the newest steps; norms are by parameter, taken and put together when someone asks.

    Args:
        late: steps after which a loss is looked at, at most: so many more are kept.
    """

    def __init__(self, late: int = 0) -> None:
        self._steps: deque[_Step] = deque(maxlen=KEPT + late)

    def losses(self, number: int, losses: Mapping[str, Tensor]) -> None:
        """A step begins with these losses ``(...)``."""
        self._steps.append(_Step(number, losses))

    def gradients(self, player: str, norms: Callable[[], list[Tensor]]) -> None:
        """The newest step has moved a player; ``norms`` gives ``(...)`` for each of its parameters."""
        self._steps[-1].norms[player] = norms

    def taken(self, pick: Callable[[Tensor], Tensor]) -> Recent:
        """What is kept of some of several runs side by side: ``pick`` is given ``(R,)`` for R runs."""
        some = Recent()
        steps = (
            _Step(
                s.number,
                {player: pick(loss) for player, loss in s.losses.items()},
                {player: partial(list, [pick(n) for n in norms()]) for player, norms in s.norms.items()},
            )
            for s in self._steps
        )
        some._steps = deque(steps, self._steps.maxlen)
        return some

    def state(self) -> list[Any]:
        """What is kept, as JSON holds it; of a single run."""
        return [
            (
                s.number,
                {player: loss.item() for player, loss in s.losses.items()},
                {player: [n.item() for n in norms()] for player, norms in s.norms.items()},
            )
            for s in self._steps
        ]

    def load(self, state: Sequence[Any], like: Tensor) -> None:
        """Goes on from what ``state`` gave; ``like`` has the type and the device of a loss."""
        for number, losses, norms in state:
            self.losses(number, {player: like.new_tensor(loss) for player, loss in losses.items()})
            for player, values in norms.items():
                self.gradients(player, partial(list, [like.new_tensor(n) for n in values]))

    def until(self, number: int) -> tuple[LastStep, ...]:
        """The last ``KEPT`` steps of a single run up to this one, oldest first."""
        steps = [step for step in self._steps if step.number <= number][-KEPT:]
        return tuple(last for step in steps for last in _told(step))

    def newest(self) -> tuple[LastStep, ...]:
        """The newest step of a single run."""
        return tuple(last for step in (*self._steps,)[-1:] for last in _told(step))


def _told(step: _Step) -> Iterator[LastStep]:
    for player, loss in step.losses.items():
        norms = step.norms.get(player)
        gradient = None if norms is None else math.hypot(*(n.item() for n in norms()))
        yield LastStep(step=step.number, player=player, loss=loss.item(), gradient=gradient)
