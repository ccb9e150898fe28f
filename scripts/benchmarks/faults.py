"""Which metric sees which fault: eight Gaussians of unequal weights, and models wrong in a known way.

Every model is a mixture of round Gaussians, so that its density, its normaliser and its samples are exact and
what is judged is the metric alone. The table gives value, floor and (value - floor)/sd, positive where the
metric says "worse"; where a metric has no floor the excess is in its own standard errors. The seconds are of
one processor; the first use of a metric takes its floor too. The last rows of a dimension are the truth's.
The exit code is 1 if in some dimension the sample metrics miss more than one fault (10 minutes on one core).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ebmark import floors, registry
from ebmark.api import Energy, Evaluation, Metric, Rng, Value

DENSITY = ("kl", "fisher", "log_density_mse", "reverse_kl")
MINIMAL = ("energy_distance", "mmd", "sliced_wasserstein", "c2st", "coverage", "precision", "mode_weights")
RATIO = 0.8  # each weight over the one before: uniform weights are then 0.12 nats away
ENOUGH = 5.0  # standard deviations of the floor
RESOLUTION = 1e-6  # of densities in single precision
FAULTS = ("modes 10 % wider", "two modes missing", "uniform weights", "2 % outliers", "shift of 0.2 sd")
NONE = "no fault"

Floors = dict[Any, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """A mixture of round Gaussians: ``weights (K,)``, ``means (K, d)`` and ``sds (K,)``, all in float64."""

    weights: Tensor
    means: Tensor
    sds: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean ``(d,)``."""
        return self.weights @ self.means

    @property
    def sd(self) -> float:
        """The root mean variance of a coordinate."""
        between = (self.means - self.mean).square().mean(-1)
        return math.sqrt((self.weights @ (self.sds.square() + between)).item())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` samples ``(n, d)`` in single precision."""
        cumulative = self.weights.cumsum(0)
        k = torch.searchsorted(cumulative, rng.uniform((n,)) * cumulative[-1], right=True)
        k = k.clamp(max=len(self.weights) - 1)
        return (self.means[k] + self.sds[k, None] * rng.normal((n, self.means.shape[-1]))).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)``."""
        squares = (x[..., None, :] - self.means).square().sum(-1)
        log_norm = self.means.shape[-1] * (self.sds.log() + 0.5 * math.log(2 * math.pi))
        return (self.weights.log() - squares / (2 * self.sds**2) - log_norm).logsumexp(-1)


class Model(nn.Module):
    """Minus the log-density: log Z is 0."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__()
        self.blobs = blobs

    def forward(self, x: Tensor) -> Tensor:
        """E ``(...)``."""
        return -self.blobs.log_prob(x.double())


def target(d: int) -> Any:
    """The mixture: on a ring in the plane, about fixed random centres above."""
    layout = "ring" if d == 2 else "random"
    return registry.make(registry.ref("dataset", "mixture", dim=d, layout=layout, ratio=RATIO))


def faulted(truth: Blobs, fault: str) -> Blobs:
    """The truth with a fault; sd is that of the data, a coordinate's."""
    ones = torch.ones_like(truth.weights)
    if fault == "modes 10 % wider":
        return replace(truth, sds=1.1 * truth.sds)
    if fault == "two modes missing":  # the lightest two
        kept = truth.weights[:-2]
        return Blobs(weights=kept / kept.sum(), means=truth.means[:-2], sds=truth.sds[:-2])
    if fault == "uniform weights":
        return replace(truth, weights=ones / len(ones))
    if fault == "2 % outliers":
        return Blobs(
            weights=torch.cat([0.98 * truth.weights, 0.02 * ones[:1]]),
            means=torch.cat([truth.means, truth.mean[None]]),
            sds=torch.cat([truth.sds, 3 * truth.sd * ones[:1]]),
        )
    if fault == "shift of 0.2 sd":
        return replace(truth, means=truth.means + 0.2 * truth.sd)
    return truth


def evaluation(d: int, n: int, fault: str, kept: Floors) -> Evaluation:
    """What the metrics see of a faulted model: exact samples and a normaliser without error."""
    data = target(d)
    sds = torch.full_like(data.weights, data.sd)
    model = faulted(Blobs(weights=data.weights, means=data.means, sds=sds), fault)
    samples = model.sample(n, Rng.of("faults", d, n, fault, dtype=torch.float64))

    def draw(*key: object) -> Tensor:
        drawn: Tensor = data.sample(n, Rng.of("faults", d, n, *key))
        return drawn

    return Evaluation(
        energy=Energy(Model(model)),
        dataset=data,
        test=draw("test"),
        log_z=lambda: Value(value=0.0, se=0.0, lo=0.0, hi=0.0),
        samples=lambda: samples,
        true_pair=lambda i, size: (draw("a", i)[:size], draw("b", i)),
        rng=Rng.of("faults"),
        floors=kept,
    )


def excess(metric: Metric, found: Value) -> float:
    """How far beyond the floor the value is, in its standard deviations, or beyond 0 in standard errors."""
    if math.isnan(found.floor_sd):
        return found.value / max(found.se, RESOLUTION)
    sign = -1 if metric.better == "higher" else 1
    return sign * (found.value - found.floor_mean) / found.floor_sd


def measured(d: int, n: int, fault: str, names: list[str], kept: Floors) -> Iterator[tuple[str, bool]]:
    """Prints a row per metric; each metric's name, and whether it sees the fault."""
    floors.MOST = n  # the benchmark takes 2000 points for the cost's sake
    at = evaluation(d, n, fault, kept)
    for name in names:
        metric: Metric = registry.make(registry.ref("metric", name))
        begin = time.process_time()
        found = metric.measure(at)
        if found is None:
            continue
        seconds, beyond = time.process_time() - begin, excess(metric, found)
        floor = f"{found.floor_mean:10.4g} ± {found.floor_sd:8.2g}" if found.floor_sd >= 0 else f"{'-':>21}"
        print(
            f"{d:4} {n:6}  {fault:18} {name:18} {found.value:10.4g} ± {found.se:8.2g}  {floor} {beyond:8.3g}"
            f"  {'seen' if beyond > ENOUGH else '-':5} {seconds:6.1f} s",
            flush=True,
        )
        yield name, beyond > ENOUGH


def dimension(d: int, names: list[str], faults: list[str]) -> bool:
    """All faults in one dimension; whether the sample metrics see enough of them."""
    kept: Floors = {}
    seen = {}
    for fault in faults:
        n = 20_000 if d == 2 and fault == FAULTS[0] else 2000
        seen[fault] = [name for name, sees in measured(d, n, fault, names, kept) if sees]
    for fault, by in seen.items():
        print(f"d = {d:4}  {fault:18} seen by: {', '.join(by) or 'none'}")
    real = [fault for fault in faults if fault != NONE]
    found = sum(bool(set(seen[fault]) & {*MINIMAL}) for fault in real)
    print(f"d = {d:4}  {found} of {len(real)} seen by sample metrics\n", flush=True)
    return found >= len(real) - 1


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 32, 128])
    parser.add_argument("--faults", nargs="+", choices=[*FAULTS, NONE], default=[*FAULTS, NONE])
    parser.add_argument("--metrics", nargs="+", default=[*MINIMAL, "mode_smallest", "mode_largest", *DENSITY])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    enough = [dimension(d, arguments.metrics, arguments.faults) for d in arguments.dims]
    return int(not all(enough))


if __name__ == "__main__":
    sys.exit(main())
