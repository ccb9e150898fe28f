"""What runs on a node of a cluster: the files of the study in their place, and whether all is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ebmark import registry
from ebmark.api import RealDataset
from ebmark.env import described
from ebmark.errors import EbmarkError
from ebmark.execute import harness_version
from ebmark.record import Row
from ebmark.trial import Ref


@dataclass(frozen=True, kw_only=True)
class Bag:
    """What the driver tells every worker about its files.

    Attributes:
        folder: the driver's current folder, to which the paths of plug-ins are relative.
        files: SHA-256 of the files that were sent along, by path below it.
        home: the user's home, None for the one that the worker has.
    """

    folder: str
    files: Mapping[str, str]
    home: str | None = None


@cache
def _settle(folder: str, files: tuple[tuple[str, str], ...], home: str | None) -> None:
    if home is not None:
        os.environ["HOME"] = home  # of a Ray of our own, whose processes were given a private one
    if os.path.isdir(folder) and all(content(Path(folder, path)) == hash for path, hash in files):
        os.chdir(folder)  # it is shared, or this is the driver's machine: relative folders mean the same


def settle(bag: Bag) -> None:
    """Puts this worker where the study's paths lead to its files; once per process."""
    _settle(bag.folder, tuple(sorted(bag.files.items())), bag.home)


def content(path: Path) -> str:
    """SHA-256 of a file, "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def examine(bag: Bag, plugins: Sequence[Ref], harness: str) -> tuple[Row, str]:
    """The row of the ``env`` table for this node, and the first thing that is wrong with it, "" if none is.

    Args:
        bag: where the files are.
        plugins: what the study uses.
        harness: the driver's version of the harness.
    """
    settle(bag)
    if (here := harness_version()) != harness:
        return described(), f"ebmark: another version of its code ({here[:8]}, the driver has {harness[:8]})"
    for ref in plugins:
        try:
            made = registry.make(ref)
            if isinstance(made, RealDataset):
                made.content()
        except EbmarkError as error:
            return described(), str(error)
    return described(), ""
