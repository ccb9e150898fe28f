"""The tables: what is stored about a trial. The one place where columns are named, typed and explained.

``SCHEMA`` is the version of all four tables. A reader refuses a newer one. Types are Arrow's names.
``timing`` marks the columns that differ between two runs of the same study; every other column is reproduced
bit for bit on CPU when the budget is in steps or passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 4

STATUSES = {
    "ok": "the budget was used up and every metric was taken",
    "diverged": "the loss, a parameter or the energy became infinite or NaN",
    "timeout": "the deadline passed",
    "oom": "memory ran out",
    "crashed": "an exception, or the worker process died",
    "skipped": "the method declines this data set or network, by declaration",
    "cancelled": "interrupted by the user",
}
NO_FAILURE = ("ok", "skipped", "cancelled")
FAILED = tuple(status for status in STATUSES if status not in NO_FAILURE)
LANES = ("quality", "tune", "cost")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: Arrow type, meaning, and whether it is a timing (or names the machine)."""

    type: str
    doc: str
    timing: bool = False


def _c(type_: str, doc: str, *, timing: bool = False) -> Column:
    return Column(type=type_, doc=doc, timing=timing)


TRIALS: Mapping[str, Column] = {
    "id": _c("string", "trial id: a hash of everything that training depends on"),
    "schema": _c("int32", "version of the tables"),
    "study": _c("string", "name of the study"),
    "options": _c(
        "string",
        "options of the command line that changed the study: with them and `spec.toml` the trial runs again",
        timing=True,
    ),
    "lane": _c(
        "string", "`quality` or `tune` (packed; wall-clock is not compared), or `cost` (alone on its device)"
    ),
    "repeat": _c("int32", "repetition of a cost measurement, 0 in the quality lane"),
    "method": _c("string", "name of the method"),
    "method_label": _c("string", "name and the settings that differ from the defaults, e.g. `cd[k=10]`"),
    "method_args": _c("string", "JSON: all settings, unresolved"),
    "dataset": _c("string", "name of the data set"),
    "dataset_label": _c("string", "name and the settings that differ from the defaults, without `dim`"),
    "dataset_args": _c("string", "JSON: all settings"),
    "dim": _c("int32", "dimension d of the data"),
    "network": _c("string", "name of the network"),
    "network_args": _c("string", "JSON: all settings"),
    "seed": _c("int64", "seed of data, initial weights and the method's randomness"),
    "status": _c("string", "ok, diverged, timeout, oom, crashed, skipped or cancelled"),
    "reason": _c("string", "why, when the status is not ok; one line"),
    "traceback": _c("string", "the full traceback of a crash"),
    "last_steps": _c(
        "string",
        "JSON, of a diverged trial: step, player, loss and gradient norm of the last 20 steps before the "
        "divergence; what is not finite is a word",
    ),
    "attempt": _c("int32", "1 for the first try", timing=True),
    "budget": _c("string", "JSON: the budget; one in seconds is not reproducible"),
    "steps": _c("int64", "optimiser steps made"),
    "batch": _c("int32", "data points per step"),
    "resolved": _c("string", "JSON: the method's settings as used, `auto` replaced by numbers"),
    "optimiser": _c("string", "JSON: optimiser settings as used"),
    "rate_factor": _c("double", "where the study tunes: the rate over the study's own; else empty"),
    "parameters": _c("int64", "trainable numbers of all players"),
    "passes_forward": _c("double", "work in F: forwards of the energy, points x passes"),
    "passes_input_gradient": _c("double", "work in F: gradients with respect to the input"),
    "passes_second_order": _c("double", "work in F: Hessian-vector products"),
    "passes_backward": _c("double", "work in F: backward passes to the parameters"),
    "passes": _c("double", "sum of the four, as plain autograd costs it"),
    "executed": _c("double", "work in F as executed (equal to `passes` where no faster operator was used)"),
    "opponents": _c(
        "string",
        "JSON: work on each opponent (flow, generator, critic) by kind, in points x forwards of its network",
    ),
    "noise_samples": _c("double", "noise points drawn"),
    "transitions": _c("double", "Markov-chain transitions, one per chain and step"),
    "wall_data": _c("double", "seconds making batches", timing=True),
    "wall_sampling": _c("double", "seconds inside samplers", timing=True),
    "wall_loss": _c("double", "seconds in the rest of the loss", timing=True),
    "wall_backward": _c("double", "seconds in the backward pass", timing=True),
    "wall_optimiser": _c("double", "seconds in the optimiser", timing=True),
    "wall_evaluation": _c("double", "seconds evaluating; not part of `wall`", timing=True),
    "wall": _c("double", "seconds of training: the first five phases without the first call", timing=True),
    "first_call": _c(
        "double", "seconds of the first step (allocation, compilation), apart from `wall`", timing=True
    ),
    "step_seconds": _c("double", "cost lane: median seconds per step; else empty", timing=True),
    "step_seconds_iqr": _c("double", "cost lane: interquartile range of the seconds per step", timing=True),
    "meter_share": _c(
        "double",
        "cost lane: what timing the phases adds to a step, as a share; some steps go without it",
        timing=True,
    ),
    "flops": _c(
        "double",
        "cost lane, repeat 0: floating-point operations of one step in matrix products and convolutions",
    ),
    "cpu": _c("double", "CPU seconds of the process during training", timing=True),
    "memory": _c(
        "double", "peak memory in bytes (resident set on CPU, allocator's peak on GPU)", timing=True
    ),
    "threads": _c("int32", "torch threads of the trial", timing=True),
    "device": _c("string", "device of the trial", timing=True),
    "together": _c(
        "int32",
        "trials of several seeds that were trained in one program, 1 for a trial alone; their seconds are "
        "shared out equally, their peak memory is not",
        timing=True,
    ),
    "continued": _c(
        "int64",
        "steps that an earlier attempt had made when its state was saved, from where this one went on; 0 for "
        "an attempt from the first step to the last. Counts, seconds and curve are of both",
        timing=True,
    ),
    "trusted": _c("bool", "whether its wall-clock may be compared", timing=True),
    "distrust": _c("string", "why not", timing=True),
    "code": _c("string", "hash of the source of the harness, the method, the data set and the network"),
    "env": _c("string", "environment id, see the env table", timing=True),
    "started": _c("timestamp[us, tz=UTC]", "start of the attempt", timing=True),
    "finished": _c("timestamp[us, tz=UTC]", "end of the attempt", timing=True),
}

CURVE: Mapping[str, Column] = {
    "id": _c("string", "trial id"),
    "attempt": _c("int32", "attempt of the trial", timing=True),
    "step": _c("int64", "optimiser steps made before this value"),
    "passes": _c("double", "work in F before this value"),
    "wall": _c("double", "training seconds before this value, evaluation excluded", timing=True),
    "metric": _c(
        "string",
        "metric; a diagnostic of the method as `log_<name>`, mean since the last checkpoint; `log_z_own`, "
        "the method's own value of log Z (a learned constant or a bound); `log_z_gap`, log Z minus that",
    ),
    "source": _c(
        "string", "where samples come from: `smc`, `own_generator` (the method's own, never ranked), or empty"
    ),
    "value": _c("double", "the value"),
    "se": _c("double", "standard error"),
    "lo": _c("double", "lower end of an interval, where the metric gives one"),
    "hi": _c("double", "upper end"),
    "trusted": _c("bool", "whether the value may be ranked"),
    "reasons": _c("string", "why not"),
    "floor_mean": _c("double", "the metric between independent true samples of the same size: mean"),
    "floor_sd": _c("double", "and its standard deviation"),
    "seconds": _c("double", "seconds spent on this value", timing=True),
    "gradients": _c("double", "gradients of the energy spent on this value, in points"),
}

ENV: Mapping[str, Column] = {
    "env": _c("string", "environment id: a hash of the other columns"),
    "host": _c("string", "hash of the host's name"),
    "cpu": _c("string", "processor"),
    "cores": _c("int32", "cores that the process may use"),
    "memory": _c("double", "bytes of memory"),
    "gpu": _c("string", "accelerators, empty for none"),
    "driver": _c("string", "GPU driver"),
    "os": _c("string", "operating system"),
    "python": _c("string", "version"),
    "versions": _c("string", "JSON: versions of the packages that matter"),
    "commit": _c("string", "git commit of the harness, empty outside a checkout"),
    "dirty": _c("bool", "the checkout had uncommitted changes"),
    "threads": _c("string", "JSON: thread settings of the environment"),
}

SAMPLES: Mapping[str, Column] = {
    "id": _c("string", "trial id"),
    "what": _c(
        "string", "`model`: samples of the fitted energy; `true`: of the target; `grid`: points of a lattice"
    ),
    "x": _c("list<double>", "the point"),
    "log_model": _c("double", "log-density of the fitted energy, lattice at d = 2 only"),
    "log_true": _c("double", "log-density of the target, where known"),
}

TABLES: Mapping[str, Mapping[str, Column]] = {
    "trials": TRIALS,
    "curve": CURVE,
    "env": ENV,
    "samples": SAMPLES,
}

Row = Mapping[str, Any]


def row(table: str, values: Row) -> dict[str, Any]:
    """Every column of ``table`` in order, None where ``values`` has none; an unknown name is a KeyError.

    Half a surrogate pair, as in the name of a file that is no UTF-8, becomes its escape: tables hold UTF-8.
    """
    columns = TABLES[table]
    if unknown := set(values) - set(columns):
        raise KeyError(f"no column {', '.join(sorted(unknown))} in the table {table}")
    return {name: _storable(values.get(name)) for name in columns}


def _storable(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="backslashreplace").decode()
    return value


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came back from a trial: the one message from a worker to the driver.

    Attributes:
        trial: a row of ``trials``.
        curve: rows of ``curve``.
        env: a row of ``env``.
        samples: rows of ``samples``, empty where no picture is wanted.
        model: the fitted parameters in safetensors format, or None.
    """

    trial: Row
    curve: tuple[Row, ...] = ()
    env: Row = field(default_factory=dict)
    samples: tuple[Row, ...] = ()
    model: bytes | None = None
