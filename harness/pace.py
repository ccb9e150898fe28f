"""How long the rest of a run will take: what was expected, corrected by what has been."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ebmark.plan import plain_name
from ebmark.record import Row
from ebmark.trial import Trial

# By how much trials of a kind that has not ended yet may be wrong because others were: forecasts of sizes and
# methods that nobody has measured miss by tenfold, and the longest trials, which are such, end first.
LEAST, MOST = 0.6, 3.0


def kind(trial: Trial) -> Hashable:
    """Trials whose forecasts are wrong by much the same factor."""
    method, network = trial.method, trial.network
    return (
        trial.lane,
        plain_name(method.name),
        method.args,
        plain_name(network.name),
        network.args,
    )


def kind_of(row: Row) -> Hashable:
    """``kind`` of the trial that a row of the trials table is about."""
    return (row["lane"], row["method"], row["method_args"], row["network"], row["network_args"])


@dataclass(kw_only=True)
class _Kind:
    """Expected and real seconds of the trials of a kind."""

    left: float = 0.0
    expected: float = 0.0
    spent: float = 0.0
    ended: int = 0

    def factor(self, others: float) -> float:
        """Real over expected, averaged with one more trial at the factor of the ``others``."""
        if self.expected <= 0:
            return others
        return (self.spent / self.expected * self.ended + others) / (self.ended + 1)


class Pace:
    """Forecasts in seconds of a run's wall-clock, and the truth as it comes in."""

    def __init__(self) -> None:
        self._kinds: defaultdict[Hashable, _Kind] = defaultdict(_Kind)

    def plan(self, kind: Hashable, seconds: float) -> None:
        """A trial is still to come."""
        self._kinds[kind].left += seconds

    def ended(self, kind: Hashable, expected: float, spent: float) -> None:
        """A trial that was planned has ended."""
        one = self._kinds[kind]
        one.left -= expected
        one.expected += expected
        one.spent += spent
        one.ended += 1

    def factors(self, late: Sequence[float] = ()) -> dict[Hashable, float]:
        """Real over expected seconds by kind; each is averaged with one trial at the factor of the others.

        Args:
            late: the same, so far, of trials that run now: all that is known before the first has ended.
        """
        seen = [one.spent / one.expected for one in self._kinds.values() if one.expected > 0]
        others = min(max(statistics.median(seen or late or [1.0]), LEAST), MOST)
        return {kind: one.factor(others) for kind, one in self._kinds.items()}

    def left(self, late: Sequence[float] = ()) -> float:
        """Seconds that the trials still to come will take, those that run now from their start."""
        factors = self.factors(late)
        return sum(max(one.left, 0.0) * factors[kind] for kind, one in self._kinds.items())
