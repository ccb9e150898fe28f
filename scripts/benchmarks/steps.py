"""Each method's training step over the bare passes of the same network and optimiser (8 minutes on one core).

The step is the harness's own, without making the batch; `floor` is the passes that its operators execute,
`slow` those of plain autograd, both in plain torch. `apart` is what noise, its densities and a replay buffer
add to the floor; it is taken off the step. Everything runs in one process, interleaved at random; the seconds
are the processor's. A bar is on the median over the dimensions, or on the dimension that is named. The exit
code is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timing.floors import TWO_PLAYERS, Run, floor, slow_floor
from timing.interleave import interleaved, quartiles
from torch import Tensor

from ebmark import noise, registry
from ebmark.api import Energy, Rng, resolve
from ebmark.env import describe
from ebmark.ops import gaussian_sample
from ebmark.train import Training
from ebmark.trial import Budget, Optimiser

BATCH = 256
BAR = 1.15
# An oracle, a kernel of n² entries, and methods of two players.
NO_BAR = ("mle", "ksd", *TWO_PLAYERS)
FLOORS = ("floor", "slow")
RUNS = ("step", "apart", *FLOORS)
SLOW_BARS: Mapping[str, Mapping[int | None, float]] = {
    "sm": {8: 0.5, 32: 0.3},
    "ssm": {None: 0.7},
    "cd[k=10]": {None: 0.8},
}
Ratios = dict[int, list[float]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method with the settings that differ from its defaults."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As the tables name it."""
        return registry.label(registry.ref("method", self.method, **self.settings))


CASES = (*(Case(method=name) for name in registry.names("method")), Case(method="cd", settings={"k": 10}))


def training(case: Case, d: int) -> Training | None:
    """The method on Gaussian data, with a rate that leaves the network as it is; None where it declines."""
    dataset = registry.make(registry.ref("dataset", "gaussian", dim=d, condition=10.0))
    network = registry.make(registry.ref("network", "mlp"))
    data = dataset.sample(max(10_000, 20 * d), Rng.of("data", d))
    method = resolve(registry.make(registry.ref("method", case.method, **case.settings)), data)
    if method.declines(dataset, network):
        return None
    heads = {"heads": method.heads(d)} if method.heads(d) > 1 else {}
    module = network.build(data, Rng.of("weights", d), **heads)
    batches = itertools.cycle(data[: 8 * BATCH].split(BATCH))
    budget, optimiser = Budget(steps=10**9, batch=BATCH), Optimiser(lr=1e-9)
    return Training(method, module, data, batches, Rng.of("method", d), budget, optimiser)


def apart(run: Training, x: Tensor) -> Run | None:
    """What the method draws from its noise, weighs with it or keeps in its buffer, in one step."""
    method, q, rng = run.method, run.state.buffers, Rng.of("apart")
    energy, (n, d) = Energy(run.module), x.shape
    if isinstance(method, noise.NoiseMethod):
        m = round(method.passes(d).forward - 1) * n

        def draw_and_weigh() -> None:
            y = noise.sample(energy, (m,), q, rng)
            noise.log_prob(y if method.name == "snl" else torch.cat([x, y]), q)

        return draw_and_weigh
    if method.name == "pcd":

        def read_and_write() -> None:
            chains = q["chains"]
            rows = rng.permutation(len(chains))[:n, None].expand(x.shape)
            gaussian_sample(energy, (math.ceil(0.05 * n),), q["mean"], q["tril"], rng)
            chains.scatter(-2, rows, chains.gather(-2, rows))

        return read_and_write
    if method.name in ("short_run", "tre"):
        return lambda: gaussian_sample(energy, (n,), q["mean"], q["tril"], rng)
    return None


def contestants(case: Case, d: int) -> dict[str, Run] | None:
    """The step, its floors and what is timed apart; None where the method declines."""
    run = training(case, d)
    if run is None:
        return None
    run.step()
    before = run.meter.executed
    run.step()
    executed = (run.meter.executed - before) / BATCH
    x = next(run.stream)
    found: dict[str, Run] = {"step": run.step, "floor": floor(run, x, executed)}
    if slow := slow_floor(run.method, run.module, x):
        found["slow"] = slow
    if other := apart(run, x):
        bare = found["floor"]
        found["both"] = lambda: (other(), bare())  # what it costs in the midst of the passes
    return found


def row(label: str, d: int, times: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Prints one line; the ratios of each round to each floor."""
    off = 0.0
    if "both" in times:
        off = statistics.median(both - bare for both, bare in zip(times["both"], times["floor"], strict=True))
    steps = [step - off for step in times["step"]]
    ratios = {
        kind: [a / b for a, b in zip(steps, times[kind], strict=True)] for kind in FLOORS if kind in times
    }
    milli = {name: f"{1e3 * statistics.median(values):.3f}" for name, values in times.items()}
    milli["apart"] = f"{1e3 * off:.3f}" if off else "-"
    spread = {
        kind: "{1:6.2f} ({0:.2f} to {2:.2f})".format(*quartiles(values)) for kind, values in ratios.items()
    }
    print(f"{label:22} {d:4}", *(f"{milli.get(name, '-'):>8}" for name in RUNS), end=" ")
    print(*(f"{spread.get(name, ''):>22}" for name in FLOORS), flush=True)
    return ratios


def judge(label: str, kind: str, ratios: Ratios, bars: Mapping[int | None, float]) -> int:
    """Prints the ratio with each bar; how many are missed."""
    missed = 0
    for d, bar in bars.items():
        if d is not None and d not in ratios:
            continue
        value = statistics.median(ratios[d] if d else [statistics.median(r) for r in ratios.values()])
        missed += value > bar
        where = f"d = {d}" if d else f"median over d = {', '.join(map(str, ratios))}"
        verdict = "pass" if value <= bar else "MISS"
        print(f"{label:22} step / {kind:5} {value:6.2f}  bar {bar:<5g} {verdict}  {where}")
    return missed


def main() -> int:
    """Prints a row per method and dimension, then the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--methods", nargs="+", metavar="METHOD", help="only these methods")
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 8, 32, 128])
    parser.add_argument("-n", "--rounds", type=int, default=15, help="bursts of each (default: 15)")
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if not arguments.methods or case.method in arguments.methods]
    rounds = 5 if arguments.quick else arguments.rounds
    found = {(case.label, d): contestants(case, d) for case in cases for d in arguments.dims}
    times = interleaved({cell: runs for cell, runs in found.items() if runs}, rounds=rounds)
    print(f"{describe()['cpu']}, torch {torch.__version__}, 1 thread, batch {BATCH}; ms of processor time")
    print(f"{'method':22} {'d':>4}", *map("{:>8}".format, RUNS), *map("{:>22}".format, ("/ floor", "/ slow")))
    ratios: dict[str, dict[str, Ratios]] = {}
    for (label, d), measured in times.items():
        for kind, values in row(label, d, measured).items():
            ratios.setdefault(label, {}).setdefault(kind, {})[d] = values
    missed = 0
    for label, kinds in ratios.items():
        if label.split("[")[0] not in NO_BAR:
            missed += judge(label, "floor", kinds["floor"], {None: BAR})
        missed += judge(label, "slow", kinds.get("slow", {}), SLOW_BARS.get(label, {}))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
