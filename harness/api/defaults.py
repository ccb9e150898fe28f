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
    settings = {f.name: getattr(plugin, f.name) for f in fields(plugin)}  # type: ignore[arg-type]  # a dataclass
    autos = {name: value for name, value in settings.items() if isinstance(value, Auto)}
    if not autos:
        return plugin
    sd, d = math.sqrt(data.var(0).mean().item()), data.shape[-1]
    numbers = {name: value.factor * sd**value.scale * d**value.dim for name, value in autos.items()}
    return replace(plugin, **numbers)  # type: ignore[type-var]
