"""A fitted network of a results folder: built from its record, filled with its stored numbers."""

from __future__ import annotations

from collections.abc import Sequence
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
from ebmark.locations import Location, location
from ebmark.lookup import again, found
from ebmark.outcome import MODEL_BYTES
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


def load(folder: str | Path, id: str, *, plugins: Sequence[str | Path] = ()) -> Stored:
    """The energy and the state of a trial that is stored, on the CPU.

    The numbers are read from ``models/<id>.safetensors``, which holds tensors and no code; the network is
    built anew from the trial's record. No file is imported because a results folder names it. Data sets that
    were read from files of numbers are needed.

    Args:
        folder: a results folder or address.
        id: of the trial, or a beginning that no other has.
        plugins: Python files with what the trial used and what is not installed.

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

    method, module, state = _empty(row, plugins)
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


def _empty(row: Series[Any], plugins: Sequence[str | Path]) -> tuple[Method, nn.Module, State]:
    """Method, network and state as they were before the first step."""
    columns = {"method": "resolved", "dataset": "dataset_args", "network": "network_args"}
    refs = [
        Ref(kind=kind, name=_name(kind, row[kind], plugins), args=row[args]) for kind, args in columns.items()
    ]
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


def _name(kind: str, name: str, plugins: Sequence[str | Path]) -> str:
    """The name of a plug-in that is installed here, or in one of the files."""
    if name in registry.names(kind):
        return name
    why = f"it came from a file, give that: ebmark.load(DIR, ID, plugins=['{name}.py'])"
    for path in plugins:
        try:
            registry.get(kind, f"{path}:{name}")
        except PluginError as error:
            why = str(error)
        else:
            return f"{path}:{name}"
    raise PluginError(f"{kind} {name!r}: not installed here; {why}")
