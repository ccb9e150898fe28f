"""A device for machines without one: its tensors are kept apart from the host's, and refuse to meet them.

They call themselves tensors of the device "meta", which every build of torch knows, but hold numbers: an
operation runs on the host, and its result is again a tensor of the device. An operation on tensors of both
places fails, as it would with CUDA; so does reading a tensor of the device as an array. Numbers ``()`` of the
host may be anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
BETWEEN = ("aten::_to_copy", "aten::copy_")  # what moves numbers from one place to the other


class Remote(Tensor):
    """A tensor of the device; ``held`` are its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Remote:
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def new_tensor(self, data: Any) -> Remote:
        return Remote(self.held.new_tensor(data))


class _Elsewhere(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Remote) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    remote = any(isinstance(t, Remote) for t in tensors)
    name = func._schema.name
    if remote and name not in BETWEEN and not _only_reads_an_index(name, args):
        met = [tuple(t.shape) for t in tensors if t.dim() and not isinstance(t, Remote)]
        if met:
            raise RuntimeError(f"{name}: a tensor of the device meets one of the host, of shape {met[0]}")
    if kwargs.get("device") is not None:
        remote = torch.device(kwargs["device"]).type == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if name == "aten::copy_":
        remote = isinstance(args[0], Remote)
    out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    for t in tensors:  # an operation in place returns the tensor that it changed
        if _held(t) is out:
            return t
    return tree_map(lambda t: Remote(t) if remote and isinstance(t, Tensor) else t, out)


def _only_reads_an_index(name: str, args: Any) -> bool:
    """CUDA takes indices of the host for its own tensors."""
    return name == "aten::index" and isinstance(args[0], Remote)


def _tensor(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` builds without asking a mode."""

    def tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        made = make(data, **more)
        return made if device is None or torch.device(device).type != DEVICE else Remote(made)

    return tensor


class _HostGenerators:
    """The module torch, with generators of the host for whatever device."""

    Generator = staticmethod(lambda device: torch.Generator())

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def elsewhere() -> Iterator[str]:
    """Makes the device; inside it is as good as any other, but for fused optimisers and safetensors."""

    def plain_adam(parameters: Any, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=lr, betas=betas, foreach=False, fused=False)

    with (
        mock.patch("ebmark.rng.torch", _HostGenerators()),
        mock.patch("torch.tensor", _tensor(torch.tensor)),
        mock.patch("ebmark.train.OPTIMISERS", {"adam": plain_adam}),
        mock.patch("ebmark.attempt.model", lambda training: None),
        _Elsewhere(),
    ):
        yield DEVICE
