"""Saved states of long trials: one whose worker or driver dies goes on from there, on whatever node.

A state is one safetensors file, ``.going/<id>.safetensors`` in the results folder: the tensors of network,
opponents, optimisers, buffers and random streams, and in its header, as JSON, counts, seconds and the curve
so far. Nothing in it is executed. Only the code, torch and kind of device that wrote it go on from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ebmark.locations import Location
from ebmark.trial import Trial, canonical

if TYPE_CHECKING:  # the store removes these files, and works without torch
    from torch import Tensor

FOLDER = ".going"
_VERSION = 1  # of the format
_HEADER = "state"


@dataclass(frozen=True, kw_only=True)
class Saves:
    """Where the trials of a run are saved while they go on, and how often.

    Attributes:
        folder: the results. A node that does not see it saves nothing, and its trials start again elsewhere.
        every: seconds between two saves; a shorter trial is never saved.
    """

    folder: str
    every: float


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What was read: the tensors by name, the rest as JSON gave it."""

    tensors: Mapping[str, Tensor]
    rest: Mapping[str, Any]


class Saver:
    """Saves one attempt at a trial, when it is time to.

    Args:
        saves: None saves nothing.
        trial: the trial; those of the cost lane are never saved.
        code: version of the code that its numbers depend on.
        device: kind of device that it runs on.
    """

    def __init__(self, saves: Saves | None, trial: Trial, code: str, device: str) -> None:
        self._trial, self._code, self._device = trial, code, device
        self._path: Path | None = None
        self._every = float("inf")
        if saves is not None and trial.lane != "cost" and Path(saves.folder).is_dir():
            self._path, self._every = saved_path(Path(saves.folder), trial.id), saves.every
        self._due = time.monotonic() + self._every

    @cached_property
    def _key(self) -> dict[str, Any]:
        """What must be the same in who saved and who goes on."""
        import torch

        # Of the trial all that changes what is done.
        same = replace(self._trial, timeout=None, study="", options="")
        return {
            "version": _VERSION,
            "trial": hashlib.sha256(canonical(asdict(same)).encode()).hexdigest(),
            "code": self._code,
            "torch": torch.__version__,
            "device": self._device.partition(":")[0],
        }

    def due(self, now: float) -> bool:
        """Whether it is time to save, at ``now`` on the monotonic clock."""
        return now >= self._due

    def save(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Replaces what was saved before, whole or not at all; where that fails the trial goes on unsaved."""
        if self._path is None:
            return
        from safetensors.torch import save_file

        header = {_HEADER: json.dumps({**self._key, **rest})}
        temporary = self._path.with_name(f".{uuid4().hex}.tmp")
        try:
            self._path.parent.mkdir(exist_ok=True)
            if not _is_ours(self._path.parent):
                raise NotADirectoryError(self._path.parent)
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, header)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            self._due = time.monotonic() + self._every
        except Exception:  # noqa: BLE001  # safetensors has its own; a full disk, tensors of a strange kind
            self._due = float("inf")
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def load(self) -> Saved | None:
        """What an earlier attempt saved; None where there is nothing that this one can go on from."""
        if self._path is None or not self._path.exists():
            return None
        from safetensors import safe_open

        try:
            with safe_open(self._path, "pt") as file:
                rest = json.loads(file.metadata()[_HEADER])
                if any(rest.get(name) != value for name, value in self._key.items()):
                    return None
                return Saved(tensors={name: file.get_tensor(name) for name in file.keys()}, rest=rest)  # noqa: SIM118  # no mapping
        except Exception:  # noqa: BLE001  # damaged, or removed meanwhile
            return None


def forget(folder: Location, ids: Iterable[str]) -> None:
    """Removes what was saved of trials whose records are stored."""
    if isinstance(folder, Path) and _is_ours(folder / FOLDER):
        for id in ids:
            saved_path(folder, id).unlink(missing_ok=True)


def tidy(folder: Location) -> None:
    """Removes what a save that was cut short left behind, and the folder where it is empty."""
    if not isinstance(folder, Path) or not _is_ours(folder / FOLDER):
        return
    for path in (folder / FOLDER).glob(".*.tmp"):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        (folder / FOLDER).rmdir()


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()


def saved_path(folder: Path, id: str) -> Path:
    """Where the trial with this id is saved in a results folder."""
    return folder / FOLDER / f"{id}.safetensors"
