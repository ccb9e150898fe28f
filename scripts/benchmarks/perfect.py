"""The truth as the model: whatever the metrics find is their own error, and that of log Z (15 minutes).

Bars: every trusted KL divergence is 0 within 3 standard errors (or 1e-6 nats, which is what the densities are
rounded to); the funnel is refused; a sample metric stands
more than 3 standard deviations of its floor on the bad side in at most 1 of 100 values. The same metrics of
exact samples stand beside, so that an error of the sampler is told from one of the floor, whose standard
deviation comes from ten pairs. The exit code is 1 if a bar is missed.
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

from ebmark import registry
from ebmark.api import Dataset, Energy, Evaluation, Metric, Rng, Value
from ebmark.evaluate import MODEL_SAMPLES, TEST_POINTS
from ebmark.networks.truth import Truth
from ebmark.normaliser import log_z, smc

SAMPLED = (
    *("energy_distance", "mmd", "sliced_wasserstein", "c2st", "coverage", "precision"),
    *("mode_weights", "mode_smallest", "mode_largest"),
)
TARGETS: dict[str, dict[str, Any]] = {
    "gaussian": {"condition": 100},
    "mixture": {"layout": "random", "ratio": 0.8},
    "two_modes": {"m": 2.0},
    "ica": {},
    "phi4": {},
    "many_well": {},
}
REFUSED = "funnel"
TRAIN = 10_000
WITHIN, BEYOND = 3.0, 3.0  # standard errors of KL, standard deviations of the floor
SHARE = 0.01
RESOLUTION = 1e-6
KINDS = ("smc", "exact")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Of one seed: the divergence, and by kind and metric how far beyond its floor each value is."""

    kl: Value
    beyond: dict[tuple[str, str], float]


def evaluations(data: Dataset, key: tuple[object, ...], kept: Any) -> Iterator[tuple[str, Evaluation]]:
    """What the metrics see of the perfect model: samples of the sampler, then exact ones."""
    rng = Rng.of("perfect", *key)
    train, test, exact = (
        data.sample(n, rng.split(what))
        for n, what in ((TRAIN, "train"), (TEST_POINTS, "test"), (MODEL_SAMPLES, "exact"))
    )
    energy = Energy(Truth(data, torch.zeros(())))
    found = log_z(energy, train, rng.split("log_z"), samples=MODEL_SAMPLES)
    drawn = found.samples
    if drawn is None:
        drawn = smc(energy, train, rng.split("log_z"), samples=MODEL_SAMPLES, check=False).samples

    def pair(i: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        of = Rng.of("perfect pair", *key[:2], i)
        return data.sample(n, of), data.sample(TEST_POINTS, of)

    at = Evaluation(
        energy=energy,
        dataset=data,
        test=test,
        log_z=found.as_value,
        samples=lambda: drawn,
        true_pair=pair,
        rng=rng.split("metrics"),
        floors=kept,
    )
    yield "smc", at
    yield "exact", replace(at, samples=lambda: exact)


def measured(data: Dataset, key: tuple[object, ...], kept: Any) -> Found:
    """All metrics of one seed."""
    beyond, kl = {}, None
    for kind, at in evaluations(data, key, kept):
        kl = kl or _metric("kl").measure(at)
        for name in SAMPLED:
            metric = _metric(name)
            if (found := metric.measure(at)) is not None:
                sign = -1 if metric.better == "higher" else 1
                beyond[kind, name] = sign * (found.value - found.floor_mean) / found.floor_sd
    assert kl is not None
    return Found(kl=kl, beyond=beyond)


def _in_errors(kl: Value) -> float:
    """KL in standard errors, of no less than the rounding of densities in single precision."""
    return abs(kl.value) / max(kl.se, RESOLUTION / WITHIN)


def _metric(name: str) -> Metric:
    metric: Metric = registry.make(registry.ref("metric", name))
    return metric


def show(name: str, d: int, seeds: int) -> list[Found]:
    """Prints the row of a target, and what each seed gave."""
    start = time.process_time()
    data: Dataset = registry.make(registry.ref("dataset", name, dim=d, **TARGETS.get(name, {})))
    kept: dict[Any, tuple[float, float]] = {}
    found = [measured(data, (name, d, seed), kept) for seed in range(seeds)]
    errors = [_in_errors(one.kl) for one in found if one.kl.trusted]
    counts = ", ".join(
        f"{kind} {sum(x > BEYOND for (k, _), x in pooled if k == kind)}/"
        f"{sum(k == kind for (k, _), _ in pooled)}"
        for pooled in ([item for one in found for item in one.beyond.items()],)
        for kind in KINDS
    )
    seen = sorted({f"{k} {m}" for one in found for (k, m), x in one.beyond.items() if x > BEYOND})
    print(
        f"{name:10} {d:4}  trusted {len(errors):2}/{seeds:<2}  worst |kl|/se {max(errors, default=0):5.2f}  "
        f"beyond {BEYOND:g} sd: {counts:24} {(time.process_time() - start) / seeds:6.1f} s",
        *seen,
        flush=True,
    )
    return found


def verdict(text: str, passed: bool) -> bool:
    """Prints a bar."""
    print(f"{'pass' if passed else 'MISS'}  {text}")
    return passed


def main() -> int:
    """Prints the table and the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--targets", nargs="+", choices=[*TARGETS, REFUSED], default=[*TARGETS, REFUSED])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    refused: list[Found] = []
    found: list[Found] = []
    for name in arguments.targets:
        for d in arguments.dims:
            if name != REFUSED:
                found += show(name, d, arguments.seeds)
            elif d > 3:  # a quadrature below
                refused += show(name, d, arguments.seeds)
    trusted = [one.kl for one in found if one.kl.trusted]
    within = sum(_in_errors(kl) <= WITHIN for kl in trusted)
    results = [
        verdict(
            f"KL is 0 within {WITHIN:g} se in {within} of {len(trusted)} trusted values "
            f"({len(found) - len(trusted)} not trusted)",
            within == len(trusted),
        )
    ]
    if refused:
        doubted = sum(not one.kl.trusted for one in refused)
        results.append(
            verdict(f"{REFUSED} refused in {doubted} of {len(refused)}", doubted >= 0.95 * len(refused))
        )
    for kind in KINDS:
        values = [x for one in found for (k, _), x in one.beyond.items() if k == kind and math.isfinite(x)]
        beyond = sum(x > BEYOND for x in values)
        text = f"{kind} samples: {beyond} of {len(values)} values beyond {BEYOND:g} sd of the floor"
        passed = verdict(text, beyond <= SHARE * len(values))
        if kind == "smc":  # exact samples say what the floors themselves are worth
            results.append(passed)
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
