"""The plug-ins as the rest of ebmark sees them: listed, named with their settings, and made.

A ``Ref`` travels in the place of an object: ``ref`` checks settings and writes them in one canonical way, so
that equal plug-ins have equal Refs, and ``make`` turns a Ref back into the object, on whatever machine.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ebmark import api, discovery
from ebmark.api import Auto, Plugin, RealDataset
from ebmark.discovery import claims, full_name, get
from ebmark.errors import EbmarkError, PluginError, SpecError
from ebmark.files import is_data, one_line
from ebmark.settings import AUTO, default, fill, short, written
from ebmark.sources import code_hash
from ebmark.trial import Ref, canonical

__all__ = ["Entry", "entries", "get", "label", "make", "names", "ref", "source_hash"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a listing shows of a plug-in.

    Attributes:
        kind: method, dataset, metric or network.
        name: its name.
        origin: the module that holds it, with the package that brought it.
        version: of that package.
        year: of a method's publication.
        reference: where it was published, from the docstring.
        summary: the first line of its file's docstring, of its own where the file holds several.
        broken: why it cannot be used, or "".
    """

    kind: str
    name: str
    origin: str
    version: str
    year: int | None = None
    reference: str = ""
    summary: str = ""
    broken: str = ""


def names(kind: str) -> list[str]:
    """The names of all built-in and installed plug-ins of a kind, without importing any."""
    return sorted(claims(kind))


def entries(kind: str) -> list[Entry]:
    """All built-in and installed plug-ins of a kind, the broken ones with their reason; imports them."""
    return [_entry(kind, name, claim) for name, origins in sorted(claims(kind).items()) for claim in origins]


def ref(kind: str, name: str, /, **args: Any) -> Ref:
    """A plug-in by name with all its settings, checked.

    Args:
        kind: method, dataset, metric or network.
        name: of the plug-in, or its file's; a file of numbers stands for the data set ``file`` of that path.
        args: some settings, the others stand at their defaults.

    Raises:
        SpecError: a setting that the plug-in does not have or does not accept.
        PluginError: the plug-in is unknown or broken.
    """
    if kind == "dataset" and is_data(name):
        name, args = "file", {**args, "path": name}
    cls = get(kind, name)
    settings = fill(f"{kind}s: {cls.name}", cls, args)
    made = _construct(kind, cls, settings)
    if isinstance(made, RealDataset):
        settings |= made.content()
    for f in _fields(cls):
        if f.metadata.get("added") and settings[f.name] == written(default(f)):
            del settings[f.name]  # earlier results were stored before there was such a setting
    return Ref(kind=kind, name=full_name(cls, name), args=canonical(settings))


def make(ref: Ref) -> Any:
    """The plug-in that a Ref names; a setting ``"auto"`` becomes the field's ``Auto``.

    Raises:
        SpecError: a setting that this version of the plug-in does not have or does not accept.
        PluginError: the plug-in is unknown or broken.
    """
    cls: Any = get(ref.kind, ref.name)  # mypy takes a class for an object that has no hash
    return _construct(ref.kind, cls, _settings(cls, ref))


@cache
def _settings(cls: type[Any], ref: Ref) -> dict[str, Any]:
    return fill(f"{ref.kind}s: {cls.name}", cls, json.loads(ref.args))


def label(ref: Ref) -> str:
    """The name and the settings that differ from the defaults, ``cd[k=10]``.

    Of a data set without ``dim``, and without the folder and the hash of its files.
    """
    cls: Any = get(ref.kind, ref.name)
    return _label(cls, ref)


@cache
def _label(cls: type[Any], ref: Ref) -> str:
    args = json.loads(ref.args)
    standard = {f.name: written(default(f)) for f in _fields(cls)}
    hidden = {"dim", "folder", "sha256"} if ref.kind == "dataset" else set()
    shown = {name: args[name] for name, value in standard.items() if args.get(name, value) != value}
    settings = ",".join(f"{name}={short(value)}" for name, value in shown.items() if name not in hidden)
    return f"{cls.name}[{settings}]" if settings else cls.name


def source_hash(ref: Ref) -> str:
    """``code_hash`` of the files of the plug-in and of those it inherits from, without ``ebmark.api``."""
    ours = [base.__module__ for base in get(ref.kind, ref.name).__mro__ if issubclass(base, Plugin)]
    own = (module for module in ours if module.rpartition(".")[0] != api.__name__)
    return _modules_hash(tuple(dict.fromkeys(own)))


@cache
def _modules_hash(modules: tuple[str, ...]) -> str:
    # Once per process: what counts is the code that was loaded, not what a file has become since.
    files = [sys.modules[module].__file__ for module in modules]
    return code_hash(Path(file) for file in files if file)


def _construct(kind: str, cls: type[Plugin], settings: dict[str, Any]) -> Plugin:
    standard = {f.name: default(f) for f in _fields(cls)}
    values = {
        name: standard[name] if value == AUTO and isinstance(standard[name], Auto) else _frozen(value)
        for name, value in settings.items()
    }
    try:
        return cls(**values)
    except EbmarkError:
        raise
    except Exception as error:  # a plug-in's own check may raise anything
        raise SpecError(f"{kind}s: {cls.name}: refuses its settings: {one_line(error)}") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fields(cls: type[Plugin]) -> list[Any]:
    return [f for f in fields(cls) if f.init]  # type: ignore[arg-type]  # the decorators make dataclasses


def _entry(kind: str, name: str, claim: discovery.Claim) -> Entry:
    known = Entry(kind=kind, name=name, origin=claim.origin, version=claim.version)
    try:
        cls = get(kind, name)
    except PluginError as error:
        return replace(known, broken=str(error))
    own, module = _docstring(cls), inspect.getdoc(sys.modules[cls.__module__]) or ""
    wanted, other = (module, own) if _is_alone(cls) else (own, module)
    return replace(
        known,
        year=getattr(cls, "year", None),
        reference=_reference(own) or _reference(module),
        summary=(wanted or other).partition("\n")[0],
    )


def _is_alone(cls: type[Plugin]) -> bool:
    """Whether no other plug-in stands in its file, so that the file's docstring is about this one."""
    beside = (value for value in vars(sys.modules[cls.__module__]).values() if value is not cls)
    named = (
        one for one in beside if isinstance(one, type) and issubclass(one, Plugin) and "name" in vars(one)
    )
    return all(one.__module__ != cls.__module__ for one in named)


def _docstring(cls: type[Plugin]) -> str:
    """The class's own docstring, "" where a dataclass has put its signature there."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return "" if text.startswith(f"{cls.__name__}(") else text


def _reference(text: str) -> str:
    """The paragraph that begins with ``Reference:`` as one line."""
    match = re.search(r"^References?:\s*(.+?)(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(match[1].split()) if match else ""
