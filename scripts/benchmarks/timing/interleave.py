"""Times several ways to do the same work in one run, interleaved at random, so that drift hits all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Cell = TypeVar("Cell", bound=Hashable)
Run = Callable[[], object]
Times = dict[Cell, dict[str, list[float]]]

WARM_UP = 3  # calls before the first that counts


def burst(run: Run, calls: int) -> float:
    """Seconds per call, in processor time of this thread: a rival process does not enter it."""
    begin = time.thread_time()
    for _ in range(calls):
        run()
    return (time.thread_time() - begin) / calls


def interleaved(
    cells: Mapping[Cell, Mapping[str, Run]], *, rounds: int, seconds: float = 0.02
) -> Times[Cell]:
    """Seconds per call of every contestant of every cell, one number a round.

    A round visits the cells in random order, and in each its contestants, so that those which are compared
    run within moments of each other.

    Args:
        cells: contestants by name, by cell.
        rounds: bursts of each contestant.
        seconds: least length of a burst.
    """
    calls = {}
    for cell, contestants in cells.items():
        for name, run in contestants.items():
            burst(run, WARM_UP)
            calls[cell, name] = max(1, round(seconds / burst(run, 1)))
    times: Times[Cell] = {cell: {name: [] for name in contestants} for cell, contestants in cells.items()}
    order = random.Random(0)
    for _ in range(rounds):
        for cell in order.sample(list(cells), len(cells)):
            for name in order.sample(list(cells[cell]), len(cells[cell])):
                times[cell][name].append(burst(cells[cell][name], calls[cell, name]))
    return times


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; of a single value three times that value."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * values
    return low, middle, high
