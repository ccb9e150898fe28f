"""Seconds of single steps: what a step typically takes, and what looking at the clock adds to it."""

from __future__ import annotations

import math
import operator
import statistics
from collections import defaultdict


class StepTimes(defaultdict[tuple[frozenset[str], bool], list[float]]):
    """Seconds of each step, by the players that it moved and whether the meter divided it among phases."""

    def __init__(self) -> None:
        super().__init__(list)

    def typical(self) -> tuple[float, float]:
        """Median and interquartile range of the seconds per step without the first calls; NaN before any.

        Where players rest, steps differ by more than noise: each kind of step counts with its share.
        """
        total = sum(map(len, self.values()))
        if total < 2:
            return next((times[0] for times in self.values()), math.nan), math.nan
        median = spread = 0.0
        for players in dict.fromkeys(players for players, _ in self):
            every = [times for (who, _), times in self.items() if who == players]
            timed = [time for times in every for time in times[2:] or times]
            low, middle, high = statistics.quantiles(timed, n=4) if len(timed) > 1 else 3 * timed
            share = sum(map(len, every)) / total
            median += share * middle
            spread += share * (high - low)
        return median, spread

    def meter_share(self) -> float:
        """What dividing a step adds to its seconds, as a share; NaN where no slice went without.

        A single trial knows it as well as it knows its seconds, to some per cent; it may be below 0.
        """
        ratios, weights = [], []
        for (players, divided), times in self.items():
            whole = self.get((players, False), [])
            if divided and min(len(times), len(whole)) > 2:
                ratios.append(statistics.median(times[2:]) / statistics.median(whole[2:]) - 1)
                weights.append(len(times) + len(whole))
        return sum(map(operator.mul, ratios, weights)) / sum(weights) if weights else math.nan
