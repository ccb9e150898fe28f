"""What is known of a number by its nearest relatives: interpolated in log d, held constant beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


class Levels:
    """A positive number by relationship and dimension.

    Args:
        rows: the columns of ``levels``, ``dim`` and ``value``.
        levels: the nearest relationship first.
    """

    def __init__(self, rows: pd.DataFrame, levels: Sequence[tuple[str, ...]]) -> None:
        self._levels = levels
        self._knots: list[dict[tuple[str, ...], dict[int, float]]] = []
        for level in levels:
            knots: dict[tuple[str, ...], dict[int, float]] = {}
            for key, value in rows.groupby([*level, "dim"])["value"].median().items():
                *names, dim = key if isinstance(key, tuple) else (key,)
                knots.setdefault(tuple(names), {})[int(dim)] = float(value)
            self._knots.append(knots)

    def _found(self, where: Mapping[str, str], dim: int) -> tuple[int, dict[int, float]] | None:
        """The nearest relatives around ``dim``, else the nearest at all, and how near."""
        known = [
            (i, knots[key])
            for i, (level, knots) in enumerate(zip(self._levels, self._knots, strict=True))
            if (key := tuple(where[name] for name in level)) in knots
        ]
        return next((k for k in known if min(k[1]) <= dim <= max(k[1])), known[0] if known else None)

    def at(self, where: Mapping[str, str], dim: int, per: Any = None) -> float | None:
        """The number there, over ``per(d)`` at each size if given; None where nothing is known."""
        found = self._found(where, dim)
        if found is None:
            return None
        values = {d: value / per(d) if per else value for d, value in sorted(found[1].items())}
        return float(np.interp(math.log(dim), np.log([*values]), [*values.values()]))

    def basis(self, where: Mapping[str, str], dim: int) -> str:
        """In words, how near the relatives are that ``at`` rests on."""
        found = self._found(where, dim)
        if found is None:
            return "kind of pass"
        level, knots = found
        if "net" not in self._levels[level] and "network" not in self._levels[level]:
            return "other networks"
        if dim in knots:
            return "measured"
        return "other sizes" if min(knots) <= dim <= max(knots) else "beyond the sizes seen"
