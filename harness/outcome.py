"""What a training run leaves in its record: counts, seconds, settings and the fitted model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from ebmark.api import Auto, Method
from ebmark.capture import model_tensors
from ebmark.recent import LastStep
from ebmark.train import Training
from ebmark.trial import canonical

MODEL_BYTES = 1_000_000  # larger networks are not stored


def measured(training: Training, *, timed: bool) -> dict[str, Any]:
    """The columns of the trials table that a run knows; seconds of single steps only where ``timed``."""
    meter = training.meter
    median, spread = training.step_seconds() if timed else (None, None)
    return {
        "resolved": _settings(training.method),
        "optimiser": canonical(training.optimiser_settings()),
        "parameters": sum(p.numel() for player in training.players.values() for p in player.parameters),
        "steps": training.steps,
        **{f"passes_{kind}": value for kind, value in asdict(meter.passes).items()},
        "passes": meter.passes.total,
        "executed": meter.executed,
        "opponents": canonical({name: asdict(work) for name, work in meter.opponents.items()}),
        "noise_samples": float(meter.noise_samples),
        "transitions": float(meter.transitions),
        **{f"wall_{phase}": seconds for phase, seconds in meter.seconds.items()},
        "wall": meter.training_seconds,
        "first_call": training.first_call,
        "step_seconds": median,
        "step_seconds_iqr": spread,
        "meter_share": training.meter_share() if timed else None,
    }


def model(training: Training) -> bytes | None:
    """The fitted parameters in safetensors format; None where they are large."""
    from safetensors.torch import save

    stored: bytes = save({name: t.contiguous() for name, t in model_tensors(training).items()})
    return stored if len(stored) <= MODEL_BYTES else None


def last_steps(steps: Sequence[LastStep]) -> str | None:
    """JSON of the steps; six digits, and what is not finite is a word, since JSON has no such numbers."""

    def number(x: float | None) -> float | str | None:
        return x if x is None else float(f"{x:.6g}") if math.isfinite(x) else str(x)

    rows = [{**asdict(s), "loss": number(s.loss), "gradient": number(s.gradient)} for s in steps]
    return canonical(rows) if rows else None


def _settings(method: Method) -> str:
    values = {f.name: getattr(method, f.name) for f in fields(method)}  # type: ignore[arg-type]
    return canonical({name: "auto" if isinstance(v, Auto) else v for name, v in values.items()})
