"""A fitted network of a results folder: built from its record, filled with its stored numbers."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pandas import Series
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Energy, Method, Rng, State
from ebmark.course import built
from ebmark.errors import PluginError, StoreError
from ebmark.evaluate import points
from ebmark.files import is_file
from ebmark.locations import Location, location
from ebmark.lookup import again, found
from ebmark.outcome import MODEL_BYTES
from ebmark.selector import parse
from ebmark.store import read, read_model
from ebmark.trial import Budget, Ref, Trial

__all__ = ["Stored", "load"]


class Stored(NamedTuple):
    """A trial's energy and state as they stood at its end.

    Attributes:
        energy: what was graded, x ``(..., d)`` -> E(x) ``(...)``, p proportional to exp(-E).
        state: what the method kept: learned constants, opponents, chains.
    """

    energy: nn.Module
    state: State


def load(folder: str | Path, id: str) -> Stored:
    """The energy and the state of a trial that is stored, on the CPU.

    The numbers are read from ``models/<id>.safetensors``, which holds tensors and no code; the network is
    built anew from the trial's record. Data sets that were read from files are needed for that, too.

    Args:
        folder: a results folder or address.
        id: of the trial, or a beginning that no other has.

    Raises:
        StoreError: no such trial, or its network was not kept (it failed, is above 1 MB, or is of the cost
            lane); with the command that makes it again.
        PluginError: its method, data set or network is not installed here.

    Example:
        >>> import ebmark, torch
        >>> study = {"name": "few", "budget": {"steps": 20}, "methods": [{"name": "dsm"}],
        ...          "datasets": [{"name": "gaussian", "dim": 2}]}
        >>> done = ebmark.run(study, output=folder, runner="serial", progress=False)
        >>> energy, state = ebmark.load(folder, done.tables.trials["id"][0])
        >>> energy(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    place = location(str(folder))
    row = found(read(place).trials, id, place, "ebmark.load")
    content = read_model(place, row["id"])
    if content is None:
        raise StoreError(_absent(place, row))
    from safetensors.torch import load as tensors_of

    method, module, state = _empty(place, row)
    try:
        tensors: dict[str, Tensor] = tensors_of(content)
        state = _filled(tensors, module, state)
    except Exception as error:
        text = str(error).splitlines()[0]
        raise StoreError(
            f"{folder}/models/{row['id']}.safetensors: not this trial's network: {text}"
        ) from error
    return Stored(method.graded(Energy(module), state).module, state)


def _absent(folder: Location, row: Series[Any]) -> str:
    id = row["id"]
    if row["status"] != "ok":
        return f"{id}: no network was kept, the trial ended {row['status']}; see ebmark show {id} {folder}"
    if row["lane"] != "quality":
        return f"{id}: no network is kept of the lane {row['lane']!r}; allowed: a trial of the lane 'quality'"
    size = f"only those up to {MODEL_BYTES / 1e6:g} MB are, and a copy of results may lack them"
    return f"{id}: no network in {folder}/models: {size}; to make it again: {again(folder, row)}"


def _empty(folder: Location, row: Series[Any]) -> tuple[Method, nn.Module, State]:
    """Method, network and state as they were before the first step."""
    columns = {"method": "resolved", "dataset": "dataset_args", "network": "network_args"}
    refs = [Ref(kind=kind, name=_name(folder, row, kind), args=row[args]) for kind, args in columns.items()]
    trial = Trial(
        seed=int(row["seed"]), budget=Budget(steps=1), method=refs[0], dataset=refs[1], network=refs[2]
    )
    method, dataset, network = map(registry.make, refs)
    data = points(trial, dataset, torch.device("cpu"))
    module = built(trial, method, dataset, network, data)
    return method, module, method.init(Energy(module), data.train, Rng.of("load"))


def _filled(tensors: dict[str, Tensor], module: nn.Module, state: State) -> State:
    """Puts the stored tensors into the modules; returns the state with its buffers.

    Raises:
        KeyError: a stored tensor belongs nowhere.
        RuntimeError: a module lacks one, or its shape is another.
    """
    modules = {"network": module, **{f"params.{who}": part for who, part in state.params.items()}}
    for name, part in modules.items():
        prefix = f"{name}."
        part.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    known = (*(f"{name}." for name in modules), "buffers.")
    if unknown := [name for name in tensors if not name.startswith(known)]:
        raise KeyError(f"no place for {unknown[0]}")
    buffers = {k.removeprefix("buffers."): t for k, t in tensors.items() if k.startswith("buffers.")}
    return State(params=state.params, buffers=buffers)


def _name(folder: Location, row: Series[Any], kind: str) -> str:
    """The name of a plug-in; of one from a file with the file, which the study names."""
    name = str(row[kind])
    if name in registry.names(kind):
        return name
    for given in _mentioned(folder, row, kind):
        if is_file(given):
            try:
                if registry.get(kind, given).name == name:
                    return given
            except PluginError:
                continue
    return name


def _mentioned(folder: Location, row: Series[Any], kind: str) -> Iterator[str]:
    """The names of plug-ins that the stored study and its options hold."""
    yield from (parse(word)[0] for word in shlex.split(row["options"]) if is_file(word.partition("[")[0]))
    spec = folder / "spec.toml"
    tables = tomllib.loads(spec.read_text(encoding="utf-8")) if spec.exists() else {}
    for entry in (*tables.get(f"{kind}s", []), tables.get(kind, {})):
        yield str(entry.get("name", ""))
    if kind == "network":
        yield from (parse(entry["network"])[0] for entry in tables.get("datasets", []) if "network" in entry)
