"""What a method keeps between steps, and what its loss returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ebmark.api.value import Value


class Constants(nn.Module):
    """Learned numbers beside the network, such as the log-normaliser c of noise-contrastive estimation.

    Each has the shape of the leading dimensions, ``()`` for a single run; one per head has ``(..., heads)``.
    """

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(value.clone()))


@dataclass(frozen=True, kw_only=True)
class State:
    """What a method keeps between steps.

    Attributes:
        params: modules by player. Those of ``energy`` are trained together with the network; any other player
            is an opponent with an optimiser of its own. Changed in place by the optimiser only.
        buffers: tensors; the only thing that a loss returns changed.
    """

    params: Mapping[str, nn.Module] = field(default_factory=dict)
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def update(self, **buffers: Tensor) -> State:
        """This state with some buffers replaced."""
        return replace(self, buffers={**self.buffers, **buffers})


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a loss returns: each stepped player's loss ``(...)``, the new state and diagnostics ``(...)``."""

    losses: Mapping[str, Tensor]
    state: State
    logs: Mapping[str, Tensor] = field(default_factory=dict)


def learned(state: State, name: str) -> Value:
    """A learned constant of a single run as a value; of several heads the sum."""
    return Value(value=state.params["energy"].get_parameter(name).sum().item())
