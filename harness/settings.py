"""The settings of a plug-in: what a dataclass field accepts, and the one way in which a value is written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ebmark.api import Auto, Plugin
from ebmark.errors import PluginError, SpecError, did_you_mean

AUTO = "auto"
_WORDS: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def fill(where: str, cls: type[Plugin], args: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of ``cls`` in JSON's types: those of ``args``, checked, the others at their defaults.

    A default that follows the data is ``"auto"``. Equal settings give equal values: an int given for a float
    becomes a float.

    Args:
        where: of the plug-in, for messages, e.g. ``methods: cd``.
        cls: the plug-in.
        args: some of its settings.

    Raises:
        SpecError: an unknown or missing setting, or a value of the wrong type.
        PluginError: the plug-in has a setting of a type that no spec can express.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]  # decorated
    for name in args:
        if name not in fields:
            raise SpecError(f"{where}.{name}: unknown setting{did_you_mean(name, fields)}")
    hints = _hints(where, cls, fields)
    return {
        name: _value(f"{where}.{name}", hints[name], default(f), args.get(name, default(f)))
        for name, f in fields.items()
    }


def default(f: dataclasses.Field[Any]) -> Any:
    """The default of a field, ``dataclasses.MISSING`` where it has none."""
    factory = f.default_factory
    return f.default if factory is dataclasses.MISSING else factory()


def written(value: Any) -> Any:
    """A default as ``fill`` writes it."""
    if isinstance(value, Auto):
        return AUTO
    return list(value) if isinstance(value, tuple) else value


def short(value: Any) -> str:
    """A setting as a label shows it and a selector reads it; no two numbers look alike."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return f"[[{','.join(map(short, value))}]]"  # in a selector, a single list is a grid
    return str(value)


@cache
def _type_hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)  # once: a worker makes the same few plug-ins for every trial


def _hints(where: str, cls: type[Plugin], names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """The alternatives that the type of each setting allows."""
    try:
        hints = _type_hints(cls)  # type: ignore[arg-type]  # a class is hashable
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise PluginError(f"{where}: a type cannot be read: {error}") from error
    found = {}
    for name in names:
        hint = hints[name]
        options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for option in options:
            if not _supported(option):
                kinds = "int, float, bool, str, Literal, tuple[float, ...] and their unions with None"
                raise PluginError(f"{where}.{name}: a setting of type {hint}; allowed: {kinds}")
        found[name] = options
    return found


def _value(where: str, options: tuple[Any, ...], standard: Any, given: Any) -> Any:
    if given is dataclasses.MISSING:
        raise SpecError(f"{where}: missing; allowed: {_allowed(options)}")
    if isinstance(standard, Auto) and given in (AUTO, standard):
        return AUTO
    for option in options:
        if (value := _read(option, given)) is not dataclasses.MISSING:
            return value
    allowed = _allowed(options) + (f" or {AUTO!r}" if isinstance(standard, Auto) else "")
    raise SpecError(f"{where}: {given!r:.60} given; allowed: {allowed}")


def _supported(option: Any) -> bool:
    if get_origin(option) is tuple:
        return get_args(option)[0] in _WORDS and get_args(option)[1:] == (...,)
    return option in _WORDS or option is NoneType or get_origin(option) is Literal


def _read(option: Any, value: Any) -> Any:
    """``value`` as one of the alternatives of a type, ``MISSING`` where it is not one."""
    if get_origin(option) is tuple:
        items = (
            [_read(get_args(option)[0], item) for item in value] if isinstance(value, list | tuple) else []
        )
        return items if items and dataclasses.MISSING not in items else dataclasses.MISSING
    if option is float and type(value) in (int, float) and _finite(value):
        return float(value) + 0.0  # one zero, without a sign
    if get_origin(option) is Literal:
        fits = any(type(value) is type(choice) and value == choice for choice in get_args(option))
    elif option is int:
        fits = type(value) is int and -(2**63) <= value < 2**63
    else:
        fits = option is not float and type(value) is option
    return value if fits else dataclasses.MISSING


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the largest float
        return False


def _allowed(options: tuple[Any, ...]) -> str:
    words: list[str] = []
    for option in options:
        if get_origin(option) is Literal:
            words.extend(repr(choice) for choice in get_args(option))
        elif get_origin(option) is tuple:
            words.append(f"[[...]], a list in the grid's list, each {_WORDS[get_args(option)[0]]}")
        elif option is not NoneType:
            words.append(_WORDS[option])
    return " or ".join(words)
