"""What a caller of ``fit`` and ``log_z`` gives, checked and made what a study would have named."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Auto, Dataset, Network, Plugin, RealDataset, Splits, dataset, network
from ebmark.energy_check import check_place
from ebmark.errors import PluginError, SpecError
from ebmark.evaluate import Points, points
from ebmark.selector import parse
from ebmark.trial import Ref, Trial, canonical

if TYPE_CHECKING:
    import numpy as np


@network("given")
class Given(Network):
    """A module of the caller's, of which nothing is known."""

    many_heads = True


@dataset("given")
class Rows(RealDataset):
    """Points of the caller's."""

    dim: int
    rows: Any = None

    def splits(self) -> Splits:
        """The points; none of them is for validation."""
        train, test = self.rows
        return Splits(train=train, val=test[:0], test=test)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        return self.function(x)


def copied(energy: nn.Module) -> nn.Module:
    """A copy to train.

    Raises:
        SpecError: it is no module, has nothing to train, or cannot be trained as it is.
    """
    if not isinstance(energy, nn.Module):
        raise SpecError(f"fit: energy: {type(energy).__name__} given; allowed: a torch.nn.Module")
    if not any(p.requires_grad for p in energy.parameters()):
        raise SpecError(f"fit: energy: {type(energy).__name__} has no parameters to train")
    check_place(energy)
    return copy.deepcopy(energy)


def like_of(module: nn.Module) -> Tensor:
    """An empty tensor where the module is and of its type."""
    known = (t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
    return next(known, torch.empty(0)).new_empty(0)


def plugin(kind: str, given: str | Plugin) -> tuple[Any, Ref]:
    """A plug-in with its Ref, from a selector or an instance.

    Raises:
        SpecError: a selector of several, or an instance of another kind.
        PluginError: no such plug-in.
    """
    if isinstance(given, str):
        name, settings = parse(given)
        if lists := [name for name, value in settings.items() if isinstance(value, list)]:
            raise SpecError(f"{kind} {given!r}: {lists[0]} is a list; allowed: one value")
        ref = registry.ref(kind, name, **settings)
        return registry.make(ref), ref
    if getattr(given, "kind", None) != kind:
        raise SpecError(f"{kind}: {given!r:.60} given; allowed: a selector, or an instance of a {kind}")
    values = {f.name: getattr(given, f.name) for f in fields(given)}  # type: ignore[arg-type]  # a dataclass
    settings = {name: "auto" if isinstance(value, Auto) else value for name, value in values.items()}
    try:
        if registry.get(kind, given.name) is type(given):
            return given, registry.ref(kind, given.name, **settings)
    except PluginError:  # a class that is registered nowhere
        pass
    return given, Ref(kind=kind, name=given.name, args=canonical(settings))


def data_set(
    given: Tensor | np.ndarray[Any, Any] | Dataset | str, test: Any, like: Tensor
) -> tuple[Dataset, Ref]:
    """The data as a data set, and its name for streams and floors.

    Args:
        given: points ``(n, d)``, a data set or its selector.
        test: held-out points ``(m, d)`` or None.
        like: a tensor of the wanted type, where it is wanted.

    Raises:
        SpecError: they are no points, or not of one dimension, or all the same.
    """
    if isinstance(given, str | Dataset):
        if test is not None:
            raise SpecError("test: given beside a data set, which has held-out points of its own")
        made: tuple[Dataset, Ref] = plugin("dataset", given)
        return made
    train = _tensor("data", given, like)
    held_out = train[:0] if test is None else _tensor("test", test, like)
    if held_out.shape[1] != train.shape[1]:
        raise SpecError(f"test: d = {held_out.shape[1]}, but the data have d = {train.shape[1]}")
    digest = hashlib.sha256(train.cpu().numpy().tobytes() + held_out.cpu().numpy().tobytes()).hexdigest()
    rows = Rows(dim=train.shape[1], rows=(train, held_out))
    return rows, Ref(kind="dataset", name="given", args=canonical({"sha256": digest}))


def _tensor(name: str, given: Any, like: Tensor) -> Tensor:
    try:
        x = torch.as_tensor(given).detach()
        if x.layout != torch.strided or x.is_complex():
            raise TypeError("neither sparse nor complex")
        x = x.to(like)
    except (TypeError, ValueError, RuntimeError) as error:
        allowed = "points (n, d) as a dense tensor or an array of real numbers, a data set or its selector"
        raise SpecError(f"{name}: {type(given).__name__} given; allowed: {allowed}") from error
    if x.dim() != 2 or not x.numel():
        raise SpecError(f"{name}: shape {tuple(x.shape)} given; allowed: (n, d)")
    if not x.isfinite().all():
        raise SpecError(f"{name}: not every number is finite")
    # without a spread there is no scale to fit noises, steps or a box to
    if (x == x[0]).all():
        raise SpecError(f"{name}: {len(x)} x the same point given; allowed: at least 2 that differ")
    return x


def points_of(trial: Trial, rows: Dataset, like: Tensor) -> Points:
    """Training and test points of the trial, of the type of ``like``.

    Raises:
        SpecError: there are metrics and nothing to take them on.
    """
    found = points(trial, rows, like.device)
    if trial.metrics and not len(found.test):
        raise SpecError("metrics: they need held-out points; give test=..., or a data set instead of points")
    return Points(train=found.train.to(like), test=found.test.to(like))


def at_least_one(name: str, n: int) -> int:
    """The number ``n``, which stands for ``name``.

    Raises:
        SpecError: it is less than 1.
    """
    if n < 1:
        raise SpecError(f"{name}: {n} given; allowed: at least 1")
    return n
