"""What every method reaches with its default settings, against fixed targets (12 minutes on one core)."""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any

from ebmark import registry
from ebmark.env import describe
from ebmark.execute import Place, execute
from ebmark.trial import Budget, Trial


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method on a target, how many steps it has and what its metric must reach there.

    Attributes:
        factor: the target is a fraction of the value before the first step, not an absolute number.
        per_dim: the metric is divided by the dimension.
    """

    method: str
    dataset: str
    network: str
    steps: int
    metric: str
    at_most: float
    settings: dict[str, Any] = field(default_factory=dict)
    dim: int | None = None
    factor: bool = False
    per_dim: bool = False


RING = {"dataset": "eight_gaussians", "network": "mlp", "metric": "kl"}
GAUSSIAN = {"dataset": "gaussian", "network": "quadratic", "metric": "fisher", "dim": 32, "steps": 4000}
CHAIN = {"dataset": "phi4", "network": "chain", "metric": "fisher", "dim": 32, "steps": 1500}
CASES = (
    Case(method="adversarial", steps=3000, at_most=0.3, **RING),
    Case(method="cd", settings={"k": 10}, steps=2500, at_most=0.03, **RING),
    Case(method="cnce", steps=2000, at_most=0.015, **RING),
    Case(method="dsm", settings={"sigma": 0.1}, steps=7000, at_most=0.05, **RING),
    Case(method="ence", steps=2000, at_most=0.3, **RING),
    Case(method="energy_discrepancy", steps=600, at_most=0.02, **RING),
    Case(method="fce", steps=3000, at_most=0.1, **RING),
    Case(method="fd_ssm", steps=1000, at_most=0.02, **RING),
    Case(method="ksd", steps=2000, at_most=0.3, **RING),
    Case(method="lsd", steps=5000, at_most=0.3, **RING),
    Case(method="mle", steps=1000, at_most=0.015, **RING),
    Case(method="mpf", steps=2000, at_most=0.1, **RING),
    Case(method="nce", steps=1500, at_most=0.01, **RING),
    Case(method="pcd", steps=1500, at_most=0.05, **RING),
    Case(method="ranking_nce", steps=2000, at_most=0.02, **RING),
    Case(method="recovery", steps=2000, at_most=0.1, **RING),
    Case(method="short_run", steps=1000, at_most=0.5, **RING),  # of its energy; its generator is the model
    Case(method="sm", steps=1000, at_most=0.02, **RING),
    Case(method="snl", steps=2000, at_most=0.05, **RING),
    Case(method="ssm", steps=1500, at_most=0.06, **RING),
    Case(method="ssm_vr", steps=1000, at_most=0.04, **RING),
    Case(method="tre", steps=2000, at_most=0.05, **RING),
    Case(method="vera", settings={"samples": 100}, steps=5000, at_most=0.3, **RING),
    *(
        Case(method=name, settings=settings, at_most=0.1, factor=True, **{**GAUSSIAN, "steps": steps})
        for name, settings, steps in (
            ("nce", {}, 4000),
            ("nce", {"scale": 1.5}, 4000),
            ("dsm", {}, 4000),
            ("ssm_vr", {}, 2000),
            ("sm", {}, 1000),
            ("cd", {"k": 1}, 2000),
            ("cd", {"k": 10}, 1000),
        )
    ),
    *(Case(method=name, at_most=0.2, per_dim=True, **CHAIN) for name in ("dsm", "ssm_vr", "nce", "cd")),
)


def reach(case: Case, seed: int) -> float:
    """The last value of the metric, as the case counts it.

    Raises:
        RuntimeError: the trial failed; its reason.
    """
    dims = {} if case.dim is None else {"dim": case.dim}
    condition = {"condition": 10.0} if case.dataset == "gaussian" else {}
    trial = Trial(
        seed=seed,
        method=registry.ref("method", case.method, **case.settings),
        dataset=registry.ref("dataset", case.dataset, **dims, **condition),
        network=registry.ref("network", case.network),
        budget=Budget(steps=case.steps),
        metrics=(registry.ref("metric", case.metric),),
        checkpoints=1,
    )
    record = execute(trial, Place(env=describe()))
    if record.trial["status"] != "ok":
        raise RuntimeError(f"{record.trial['status']}: {record.trial['reason']}")
    values = [row["value"] for row in record.curve if row["metric"] == case.metric]
    return values[-1] / (values[0] if case.factor else case.dim if case.per_dim and case.dim else 1)


def main() -> int:
    """Prints a row per case; the exit code is 1 if a median misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--seeds", type=int, default=3, help="seeds per row (default: 3)")
    parser.add_argument("--only", default="", help="only cases whose data set has this name")
    arguments = parser.parse_args()
    missed = 0
    print(
        f"{'method':20} {'data set':18} {'steps':>5}  {'measure':20} {'median':>9}  {'of':28} {'target':>7}"
    )
    for case in CASES:
        if arguments.only not in ("", case.dataset):
            continue
        found = [reach(case, seed) for seed in range(arguments.seeds)]
        median = statistics.median(found)
        missed += median > case.at_most
        unit = " / start" if case.factor else " / d" if case.per_dim else " in nats"
        label = registry.label(registry.ref("method", case.method, **case.settings))
        where = f"{case.dataset}{f' d={case.dim}' if case.dim else ''}"
        each = ", ".join(f"{value:.3g}" for value in found)
        verdict = "pass" if median <= case.at_most else "MISS"
        print(
            f"{label:20} {where:18} {case.steps:5}  {case.metric + unit:20} {median:9.3g}  {each:28} "
            f"{case.at_most:7g} {verdict}",
            flush=True,
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
