"""What the four kinds of plug-in share, and the decorators that make and name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform

T = TypeVar("T", bound=type)


class Plugin:
    """What the four kinds of plug-in share."""

    kind: ClassVar[str]
    name: ClassVar[str]


def _register(kind: str, name: str, **facts: object) -> Callable[[T], T]:
    def wrap(cls: T) -> T:
        if getattr(cls, "kind", None) != kind:
            raise TypeError(f"@{kind}({name!r}) decorates a subclass of {kind.capitalize()}, got {cls!r}")
        made = cast(Any, dataclass(frozen=True, kw_only=True)(cls))
        made.name = name
        for key, value in facts.items():
            setattr(made, key, value)
        return cast(T, made)

    return wrap


@dataclass_transform(frozen_default=True, kw_only_default=True)
def method(name: str, *, year: int) -> Callable[[T], T]:
    """Makes a ``Method`` subclass a frozen dataclass and gives it its name."""
    return _register("method", name, year=year)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def dataset(name: str) -> Callable[[T], T]:
    """Makes a ``Dataset`` subclass a frozen dataclass and gives it its name."""
    return _register("dataset", name)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def network(name: str) -> Callable[[T], T]:
    """Makes a ``Network`` subclass a frozen dataclass and gives it its name."""
    return _register("network", name)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def metric(name: str) -> Callable[[T], T]:
    """Makes a ``Metric`` subclass a frozen dataclass and gives it its name."""
    return _register("metric", name)
