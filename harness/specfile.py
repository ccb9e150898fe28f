"""Study files as text: where they are, what TOML they hold, and on which line each key stands."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from ebmark.errors import SpecError, did_you_mean
from ebmark.locations import Location, location

Key = tuple[str | int, ...]
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]#=]+?)\s*\]\]?\s*(?:#.*)?")
_ENTRY = re.compile(r"""\s*((?:[\w.\s-]|"[^"]*"|'[^']*')+?)\s*=""")


class Places:
    """Where the values of a spec come from, for messages: a line of its file, or an option.

    Args:
        label: how messages call the file.
        text: its text. Lines are found by their form; a key inside a multi-line value may be missed, and the
            place is then that of the table around it.
    """

    def __init__(self, label: str, text: str) -> None:
        self._label = _one_line(label)
        self._places = {key: f"{self._label}, line {number}" for key, number in _lines(text).items()}

    def find(self, key: Key) -> str:
        """The most exact known place of ``key``."""
        known = (self._places.get(key[:n]) for n in range(len(key), 0, -1))
        return next(filter(None, known), self._label)

    def replace(self, key: Key, place: str) -> None:
        """The value of ``key`` now comes from ``place``, not from the file."""
        kept = {at: old for at, old in self._places.items() if at[: len(key)] != key}
        self._places = kept | {key: _one_line(place)}

    def raise_table(self, name: str) -> None:
        """The values of the table ``name`` now stand in place of those at the top."""
        above = {key[1:]: old for key, old in self._places.items() if key[0] == name and len(key) > 1}
        lists = {key[0] for key in above if len(key) > 1 and isinstance(key[1], int)}
        self._places = {key: old for key, old in self._places.items() if key[0] not in lists} | above


def dotted(key: Key) -> str:
    """``methods[0].name``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return _one_line("".join(parts).removeprefix("."))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> dict[Key, int]:
    """The line, from 1, on which each table and key is first written."""
    found: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header[2])
            if header[1] == "[[":
                found.setdefault(table, number)
                table += (sum(key[:-1] == table and isinstance(key[-1], int) for key in found),)
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault(table + _parts(entry[1]), number)
    return found


def _parts(key: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def shipped() -> list[str]:
    """The names of the studies that come with ebmark."""
    files = resources.files("ebmark.studies").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def opening(name: str) -> str:
    """The first sentence of a shipped study's file."""
    lines = (
        resources.files("ebmark.studies").joinpath(f"{name}.toml").read_text(encoding="utf-8").splitlines()
    )
    comment = " ".join(
        line.removeprefix("#").strip() for line in takewhile(lambda x: x.startswith("#"), lines)
    )
    return re.split(r"(?<=[.?!])\s", comment, maxsplit=1)[0]


def read(study: str | Path | Mapping[str, Any]) -> tuple[str, str]:
    """How messages call a study, and its text: of a file or an address, of a shipped study, or of tables.

    Raises:
        SpecError: no such study, or it cannot be read.
    """
    if isinstance(study, Mapping):
        return "the study", dump(study)
    path, label = str(study), _one_line(str(study))
    if path in shipped():
        file = resources.files("ebmark.studies").joinpath(f"{path}.toml")
        return label, file.read_text(encoding="utf-8")
    if not (path.endswith(".toml") or "/" in path or os.path.exists(path)):
        hint = did_you_mean(path, shipped())
        raise SpecError(f"{path!r}: unknown study, and no path to a .toml file{hint}; see ebmark ls studies")
    place: Location = Path(path)
    if "://" in path:  # beside the results of an object store
        place = location(path)
        label = str(place)  # without credentials
    try:
        return label, place.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"{label}: not a UTF-8 text: byte {error.start} cannot be read") from error
    except (OSError, ValueError) as error:
        reason = _one_line(getattr(error, "strerror", None) or str(error))
        raise SpecError(f"{label}: cannot be read: {reason}") from error


def dump(tables: Mapping[str, Any]) -> str:
    """Tables as a TOML text: values first, then tables, then arrays of tables.

    Raises:
        SpecError: a value that TOML does not have, with its key.
    """
    return "".join(_dumped((), tables)).lstrip("\n")


def _dumped(key: tuple[str, ...], tables: Mapping[str, Any]) -> Iterator[str]:
    inner = {name: value for name, value in tables.items() if _is_table(value) or _are_tables(value)}
    for name, value in tables.items():
        if name not in inner:
            yield f"{_key(name)} = {_value((*key, name), value)}\n"
    for name, value in inner.items():
        path = ".".join(map(_key, (*key, name)))
        for table in value if _are_tables(value) else (value,):
            yield f"\n[[{path}]]\n" if _are_tables(value) else f"\n[{path}]\n"
            yield from _dumped((*key, name), table)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))


def _key(name: Any) -> str:
    return str(name) if re.fullmatch(r"[\w-]+", str(name), re.ASCII) else json.dumps(str(name))


def _value(key: tuple[str, ...], value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(key, item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value((*key, str(k)), v)}" for k, v in value.items()) + " }"
    allowed = "a number, true or false, text, a list or a dictionary"
    raise SpecError(f"{dotted(key)}: {value!r:.60} given; allowed: {allowed}")


def parse_toml(label: str, text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        SpecError: it is not TOML.
    """
    try:
        tables = tomllib.loads(text)
        repr(tables)  # a hexadecimal number may be too long for any message
    except (ValueError, RecursionError) as error:
        match = re.fullmatch(r"(.*?) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        where, what = (f", line {match[2]}, column {match[3]}", match[1]) if match else ("", str(error))
        raise SpecError(f"{label}{where}: not TOML: {_one_line(what)}") from error
    return tables


def with_seeds(text: str, seeds: Sequence[int], name: str) -> str:
    """A study file's text with these seeds, where it has them now or at the top; all else stays as it is.

    Args:
        text: of the file.
        seeds: of the study as it is run.
        name: of the study as it is run: with ``-quick`` the table ``[quick]`` is laid over the rest.
    """
    tables, lines = tomllib.loads(text), text.split("\n")
    quick = name == f"{tables['name']}-quick"
    said = len(seeds) if list(seeds) == list(range(len(seeds))) else list(seeds)
    where = _lines(text)
    at = where.get(("quick", "seeds")) if quick else where.get(("seeds",))
    start = where[("quick",)] if quick and at is None and ("quick",) in where else 0
    first, last = (start, start) if at is None else (at - 1, at)
    while at is not None and not _is_toml("\n".join(lines[first:last])):
        last += 1  # a list over several lines
    made = "\n".join([*lines[:first], f"seeds = {said}", *lines[last:]])
    right = _is_toml(made) and (tomllib.loads(made).get("quick", {}) if quick else tomllib.loads(made))
    # Tables written in a form that the lines do not show stay as they are, under a remark.
    return made if right and right.get("seeds") == said else f"# run with seeds = {said}\n{text}"


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``above`` in their places; tables are merged, the rest replaced."""
    merged = dict(base)
    for key, value in above.items():
        below = base.get(key)
        merge = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = overlay(below or {}, value) if merge else value
    return merged
