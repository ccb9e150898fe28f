"""Files named by the user: Python, loaded as modules, and data by their suffix."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ebmark.errors import EbmarkError, PluginError

PREFIX = "ebmark_file_"  # begins the names of the modules made here
DATA = (".npy", ".npz", ".csv", ".parquet")


def is_file(name: str) -> bool:
    """Whether a plug-in's name is a file's."""
    return name.endswith(".py") or ".py:" in name


def is_data(name: str) -> bool:
    """Whether a data set's name is that of a file of numbers."""
    return name.lower().endswith(DATA)


def split(name: str) -> tuple[str, str]:
    """A file's path, without needless parts, and the plug-in's name or "", of ``path/to/file.py:name``."""
    stem, _, wanted = (name[:-3], "", "") if name.endswith(".py") else name.partition(".py:")
    return os.path.normpath(f"{stem}.py"), wanted


def load(path: str) -> ModuleType:
    """The module made from a file, again when its text has changed; no bytecode is left beside it.

    What it changes of the process, such as torch's defaults, is undone: else the first trial of a process
    would run with it and the others without.

    Raises:
        PluginError: it cannot be read, or raises; with the line.
    """
    try:
        source = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise PluginError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    key = f"{os.path.realpath(path)}\n".encode() + source
    name = PREFIX + hashlib.sha256(key).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = os.path.realpath(path)
    sys.modules[name] = module  # where dataclasses look up the types of the fields
    from ebmark.isolation import unchanged  # it imports torch; the names of files are looked at without

    try:
        with unchanged():
            exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[name]
        raise PluginError(f"{path}{_line(path, error)}: {one_line(error)}") from error
    return module


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, unless it is ours, and its message."""
    kind = "" if isinstance(error, EbmarkError) else f"{type(error).__name__}: "
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # its str repeats the place
    return kind + " ".join(text.split())


def _line(path: str, error: BaseException) -> str:
    """', line N' of the file where an error arose."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""
