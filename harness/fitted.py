"""A network that ``fit`` has trained, with what it cost and what was measured along the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from ebmark.api import Method, Passes, State

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Fit:
    """A network that has been trained.

    Attributes:
        method: with every setting a number.
        energy: what was fitted, x ``(..., d)`` -> E(x) ``(...)``, p proportional to exp(-E).
        network: the trained copy of the module that was given. The energy itself, but for methods that
            train several heads or put a base density beside the network.
        state: what the method keeps: learned constants, opponents, chains.
        steps: optimiser steps made.
        passes: work on the energy in points x F, by kind, as plain autograd needs it.
        seconds: by phase; ``evaluation`` is not training. The first step's are in none of them.
        rows: of ``curve`` and ``logs``.
    """

    method: Method
    energy: nn.Module
    network: nn.Module
    state: State
    steps: int
    passes: Passes
    seconds: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]]

    @cached_property
    def curve(self) -> pd.DataFrame:
        """The metrics along the run, a row each: step, passes, wall, metric, source, value, se, ..."""
        return self._frame(logs=False)

    @cached_property
    def logs(self) -> pd.DataFrame:
        """The method's diagnostics, a row per checkpoint: mean values since the last."""
        logs = self._frame(logs=True)
        wide = logs.pivot_table(index="step", columns="metric", values="value", sort=False)
        return wide.rename(columns=lambda name: name.removeprefix("log_")).rename_axis(columns=None)

    def __repr__(self) -> str:
        seconds = sum(s for phase, s in self.seconds.items() if phase != "evaluation")
        return f"Fit({self.method!r}: {self.steps} steps, {self.passes.total:.3g} F, {seconds:.3g} s)"

    def _frame(self, *, logs: bool) -> pd.DataFrame:
        import pandas as pd

        from ebmark.record import CURVE

        columns = [name for name in CURVE if name not in ("id", "attempt")]
        # A metric's name may begin with log_ too; only what is measured may be doubted.
        chosen = [row for row in self.rows if ("reasons" not in row) == logs]
        return pd.DataFrame(chosen, columns=columns)

    def _repr_html_(self) -> str:
        from ebmark.notebook import fit_html

        return fit_html(self)
