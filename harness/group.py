"""Attempts that are trained in one program and evaluated one after the other, as each would be alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from ebmark.attempt import Attempt
from ebmark.course import stops
from ebmark.together import Together
from ebmark.train import DivergedError


def train_together(attempts: Sequence[Attempt], *, mapped: bool) -> None:
    """Takes attempts at trials that differ in their seed to their ends.

    Args:
        attempts: not yet prepared. Together they have the sum of their times.
        mapped: see ``Together``.

    Raises:
        Exception: what went wrong in the shared program; the attempts are then worth nothing.
    """
    for attempt in attempts:
        with attempt.ending():
            attempt.prepare()
    going = [attempt for attempt in attempts if not attempt.status]
    if going:
        limits = [attempt.trial.timeout for attempt in attempts]
        timeout = None if None in limits else sum(filter(None, limits))
        _Group(going, mapped=mapped, timeout=timeout).go()


class _Group:
    """Attempts with their shared training."""

    def __init__(self, attempts: Sequence[Attempt], *, mapped: bool, timeout: float | None) -> None:
        self.attempts = {id(attempt.training): attempt for attempt in attempts}
        self.training = Together([a.training for a in attempts if a.training is not None], mapped=mapped)
        self.trial = attempts[0].trial
        self.timeout = timeout
        self.deadline = time.monotonic() + (timeout or float("inf"))
        for attempt in attempts:
            attempt.together = len(attempts)

    def go(self) -> None:
        """To the end of the budget, or until none is left."""
        self._each(Attempt.checkpoint)
        for share, costly in stops(self.trial, lambda: self.training.progress if self.training.runs else 1.0):
            self._train_until(share)
            self._each(partial(Attempt.checkpoint, costly=costly))
        self._each(Attempt.finish)

    def _going(self) -> list[Attempt]:
        return [self.attempts[id(run)] for run in self.training.runs]

    def _each(self, do: Callable[[Attempt], None]) -> None:
        """``do`` with every attempt that goes on; one that ends with it leaves."""
        for attempt in self._going():
            with attempt.ending():
                do(attempt)
            if attempt.status and attempt.training is not None:
                self.training.leave(attempt.training)

    def _train_until(self, share: float) -> None:
        """Steps until this share of the budget is used up; those that diverge end at their step."""
        going, begin, overdue = self._going(), time.process_time(), False
        try:
            while self.training.runs and self.training.progress < share and not overdue:
                self.training.step()
                overdue = time.monotonic() > self.deadline
            self.training.hand_over()
        except DivergedError:  # the last one's, which is among those that left
            pass
        for run, error in self.training.left:
            self.attempts[id(run)].end("diverged", str(error), error.last)
        self.training.left.clear()
        for attempt in going:
            attempt.cpu += (time.process_time() - begin) / len(going)
        if overdue:
            reason = (
                f"{self.timeout:g} s for {len(self.attempts)} trials passed after {self.training.steps} steps"
            )
            self._each(lambda attempt: attempt.end("timeout", reason))
