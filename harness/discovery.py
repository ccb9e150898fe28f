"""Where plug-ins are found: built in, installed beside ebmark, or in a file named by the user.

A built-in is found by the name in its decorator, read from the source without importing it, so that one name
loads one module. An installed package offers plug-ins as entry points in the groups ``ebmark.methods``,
``ebmark.datasets``, ``ebmark.metrics`` and ``ebmark.networks``; the entry point's name is the plug-in's, its
object the class or the module that holds it. A file is named ``path/to/my_method.py``, or
``path/to/my_method.py:name`` where it holds several.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType

from ebmark import __version__
from ebmark.api import Dataset, Method, Metric, Network, Plugin
from ebmark.errors import PluginError, did_you_mean
from ebmark.files import PREFIX, is_file, load, one_line, split

KINDS: Mapping[str, type[Plugin]] = {
    "method": Method,
    "dataset": Dataset,
    "metric": Metric,
    "network": Network,
}

JUST_NOW = 2.0  # seconds for which a file that was changed may change again without a new time


@dataclass(frozen=True)
class Claim:
    """A name that a module offers.

    Attributes:
        origin: the module, with the package that brought it.
        version: of that package.
        load: imports it; may raise anything.
    """

    origin: str
    version: str
    load: Callable[[], type[Plugin]]


@cache
def claims(kind: str) -> Mapping[str, list[Claim]]:
    """Who offers which name of a kind, without importing a plug-in."""
    found: dict[str, list[Claim]] = {}
    package = importlib.import_module(f"ebmark.{kind}s")
    for folder in package.__path__:
        for info in pkgutil.iter_modules([folder], f"{package.__name__}."):
            path = Path(folder, info.name.rpartition(".")[2])
            for name in _declared(path / "__init__.py" if info.ispkg else path.with_suffix(".py"), kind):
                offer = partial(_from_module, kind, info.name, name)
                found.setdefault(name, []).append(Claim(info.name, __version__, offer))
    for point in metadata.entry_points(group=f"ebmark.{kind}s"):
        dist, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")
        claim = Claim(f"{point.value} of {dist}", version, partial(_from_entry_point, kind, point))
        found.setdefault(point.name, []).append(claim)
    return found


def get(kind: str, name: str) -> type[Plugin]:
    """The plug-in of that name; imports its module only.

    Raises:
        PluginError: unknown, claimed by two origins, or it cannot be imported.
    """
    if is_file(name):
        return _from_file(kind, name)
    origins = claims(kind).get(name, [])
    if not origins:
        raise PluginError(
            f"{kind}s: {name!r}: unknown {kind}{did_you_mean(name, claims(kind))}; see ebmark ls {kind}s"
        )
    if len(origins) > 1:
        raise _collision(kind, name, *(claim.origin for claim in origins))
    try:
        return origins[0].load()
    except (Exception, SystemExit) as error:  # a plug-in's module may raise anything
        raise PluginError(f"{kind}s: {name!r} in {origins[0].origin} is broken: {one_line(error)}") from error


def shipped(kind: str, name: str) -> bool:
    """Whether the plug-in of that name came with ebmark."""
    return any(claim.origin.startswith(f"ebmark.{kind}s.") for claim in claims(kind).get(name, ()))


def kinds(name: str) -> list[str]:
    """The kinds of plug-in that a name or a file offers; imports the file, or nothing.

    Raises:
        PluginError: none, or the file cannot be imported.
    """
    if is_file(name):
        path, wanted = split(name)
        module = _built_in(path) or load(path)
        found = [
            kind for kind in KINDS if (inside := _inside(module, kind)) and (not wanted or wanted in inside)
        ]
        if not found:
            what = repr(wanted) if wanted else "a plug-in"
            raise PluginError(
                f'{path}: {what} is not inside; allowed: a class decorated with @method("name"), '
                f"@dataset, @metric or @network"
            )
        return found
    found = [kind for kind in KINDS if name in claims(kind)]
    if not found:
        known = sorted({one for kind in KINDS for one in claims(kind)})
        raise PluginError(f"{name!r}: no plug-in of that name{did_you_mean(name, known)}")
    return found


def full_name(cls: type[Plugin], name: str) -> str:
    """The one spelling of a plug-in's name; for a file its normalised path and the plug-in's own name."""
    return f"{split(name)[0]}:{cls.name}" if cls.__module__.startswith(PREFIX) else cls.name


def _declared(path: Path, kind: str) -> list[str]:
    """The names given to ``@kind("name")`` in a file; the file's own name where it is not Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return [path.stem]
    return [
        str(mark.args[0].value)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func).rpartition(".")[2] == kind
        if mark.args and isinstance(mark.args[0], ast.Constant)
    ]


@cache
def _from_module(kind: str, module: str, name: str) -> type[Plugin]:
    found = _inside(importlib.import_module(module), kind)
    if name not in found:
        raise LookupError(f"no {kind} {name!r} inside")
    return found[name]


def _from_entry_point(kind: str, point: metadata.EntryPoint) -> type[Plugin]:
    if point.module in sys.modules:
        target = point.load()
    else:
        from ebmark.isolation import unchanged  # as for a file: see there

        with unchanged():
            target = point.load()
    cls = _inside(target, kind).get(point.name) if isinstance(target, ModuleType) else target
    if not (isinstance(cls, type) and issubclass(cls, KINDS[kind]) and vars(cls).get("name") == point.name):
        raise LookupError(f"no {kind} {point.name!r} inside; the entry point's name is the plug-in's")
    return cls


def _from_file(kind: str, name: str) -> type[Plugin]:
    """The plug-in in a file as it is now."""
    path = split(name)[0]
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return _in_file(kind, name)
    if time.time() - now.st_mtime < JUST_NOW:
        return _in_file(kind, name)
    return _in_same_file(kind, name, os.getcwd(), (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns))


@cache
def _in_same_file(kind: str, name: str, folder: str, version: tuple[int, ...]) -> type[Plugin]:
    """``_in_file``, once per version of the file that ``name`` means in the working ``folder``."""
    return _in_file(kind, name)


def _in_file(kind: str, name: str) -> type[Plugin]:
    path, wanted = split(name)
    module = _built_in(path) or load(path)
    found = _inside(module, kind)
    if not found:
        raise PluginError(f'{path}: no {kind} inside; allowed: a class decorated with @{kind}("name")')
    if wanted and wanted not in found:
        raise PluginError(f"{path}: {wanted!r}: unknown {kind}{did_you_mean(wanted, found)}")
    if not wanted and len(found) > 1:
        allowed = ", ".join(f"{path}:{one}" for one in sorted(found))
        raise PluginError(f"{path}: {len(found)} {kind}s inside; allowed: {allowed}")
    cls = found[wanted or next(iter(found))]
    if module.__name__.startswith(PREFIX) and cls.name in claims(kind):
        raise _collision(kind, cls.name, path, *(claim.origin for claim in claims(kind)[cls.name]))
    return cls


def _inside(module: ModuleType, kind: str) -> dict[str, type[Plugin]]:
    """The plug-ins of a kind that a module itself defines."""
    found: dict[str, type[Plugin]] = {}
    for cls in vars(module).values():
        if not isinstance(cls, type) or not issubclass(cls, KINDS[kind]) or "name" not in vars(cls):
            continue
        if cls.__module__ == module.__name__ and found.setdefault(cls.name, cls) is not cls:
            origins = (f"{module.__file__}:{one.__qualname__}" for one in (found[cls.name], cls))
            raise _collision(kind, cls.name, *origins)
    return found


def _built_in(path: str) -> ModuleType | None:
    """The built-in module that a path names, so that a file of this package is not a second plug-in."""
    if not os.path.isfile(path):
        return None
    file = Path(path).resolve()
    for kind in KINDS:
        package = importlib.import_module(f"ebmark.{kind}s")
        if file.parent in _resolved(tuple(package.__path__)):
            try:
                return importlib.import_module(f"{package.__name__}.{file.stem}")
            except (Exception, SystemExit) as error:  # a plug-in's module may raise anything
                raise PluginError(f"{path}: {one_line(error)}") from error
    return None


@cache
def _resolved(folders: tuple[str, ...]) -> frozenset[Path]:
    return frozenset(Path(folder).resolve() for folder in folders)


def _collision(kind: str, name: str, *origins: str) -> PluginError:
    return PluginError(f"{kind}s: {name!r}: claimed by {' and by '.join(origins)}; rename or remove one")
