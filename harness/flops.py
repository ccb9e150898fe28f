"""Floating-point operations of whatever runs inside a block: a measure of work that no clock can blur."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Adds up the floating-point operations of matrix products and convolutions, by torch's own formulas.

    ``torch.utils.flop_counter.FlopCounterMode`` has the same formulas but also follows modules, and refuses a
    gradient with respect to a leaf. A step takes several times as long inside.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs the operation as it is."""
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
