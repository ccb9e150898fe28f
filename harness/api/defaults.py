"""Defaults of settings: those that follow the data, and those that joined a published plug-in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar, cast

from torch import Tensor

P = TypeVar("P")


@dataclass(frozen=True)
class Auto:
    """A setting resolved from the data: ``factor * sd**scale * d**dim``, sd the root mean variance."""

    factor: float
    scale: float = 1
    dim: float = 0


def auto(factor: float, *, scale: float = 1, dim: float = 0) -> float:
    """A default that follows the data: ``factor * sd**scale * d**dim``; a plug-in only sees the number."""
    return cast(float, Auto(factor, scale, dim))


def added(default: P) -> P:
    """The default of a setting that joined a published plug-in.

    At this default the setting is not written into a trial's id, so that earlier results are still found.
    """
    return field(default=default, metadata={"added": True})


def resolve(plugin: P, data: Tensor) -> P:
    """``plugin`` with every ``auto`` setting replaced by its number for ``data (n, d)``."""
    sd = math.sqrt(data.var(0).mean().item())
    numbers = {
        f.name: value.factor * sd**value.scale * data.shape[-1] ** value.dim
        for f in fields(plugin)  # type: ignore[arg-type]  # every plug-in is a dataclass
        if isinstance(value := getattr(plugin, f.name), Auto)
    }
    return replace(plugin, **numbers) if numbers else plugin  # type: ignore[type-var]
