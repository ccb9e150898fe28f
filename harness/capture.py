"""The whole state of a training run as tensors and JSON, and a run put back where such a state was taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ebmark.saves import Saved
from ebmark.stream import Batches
from ebmark.train import Training


def model_tensors(training: Training) -> dict[str, Tensor]:
    """Parameters and buffers, named ``network.*``, ``params.<player>.*`` and ``buffers.*``."""
    modules = {"network": training.module}
    modules |= {f"params.{player}": module for player, module in training.state.params.items()}
    found = {f"{who}.{name}": t for who, module in modules.items() for name, t in module.state_dict().items()}
    return found | {f"buffers.{name}": t for name, t in training.state.buffers.items()}


def captured(training: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that the next steps depend on and everything counted so far, between two steps.

    Raises:
        DivergedError: a loss was not finite.
    """
    training.settle()
    tensors = model_tensors(training)
    for who, player in training.players.items():
        for i, values in player.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{who}.{i}.{name}": t for name, t in values.items()}
    tensors |= {f"stream.{name}": t for name, t in _stream(training).state().items()}
    tensors |= {f"logs.{name}": total for name, (total, _) in training.logs.items()}
    tensors["rng"] = training.rng.state()
    rest = {
        "steps": training.steps,
        "first_call": training.first_call,
        "logs": {name: count for name, (_, count) in training.logs.items()},
        "meter": training.meter.state(),
        "recent": training.recent.state(),
    }
    return {name: t.detach().clone() for name, t in tensors.items()}, rest


def restore(training: Training, saved: Saved) -> None:
    """Puts a training that has not begun where ``captured`` found one."""
    training.module.load_state_dict(_below(saved, "network"))
    for who, module in training.state.params.items():
        module.load_state_dict(_below(saved, f"params.{who}"))
    device = training.data.device
    buffers = {name: t.to(device) for name, t in _below(saved, "buffers").items()}
    training.state = replace(training.state, buffers=buffers)
    for who, player in training.players.items():
        states: dict[int, dict[str, Tensor]] = {}
        for key, t in _below(saved, f"optimiser.{who}").items():
            i, _, name = key.partition(".")
            states.setdefault(int(i), {})[name] = t
        player.optimiser.load_state_dict({**player.optimiser.state_dict(), "state": states})
    _stream(training).load(_below(saved, "stream"))
    training.rng.load(saved.tensors["rng"])
    totals, rest = _below(saved, "logs"), saved.rest
    training.logs = {name: (totals[name].to(device), n) for name, n in rest["logs"].items()}
    training.steps, training.first_call = rest["steps"], rest["first_call"]
    training.meter.load(rest["meter"])
    training.recent.load(rest["recent"], training.data)
    training.settle()


def _below(saved: Saved, prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name[len(start) :]: t for name, t in saved.tensors.items() if name.startswith(start)}


def _stream(training: Training) -> Batches:
    assert isinstance(training.stream, Batches), "a trial's batches know where they stand"
    return training.stream
