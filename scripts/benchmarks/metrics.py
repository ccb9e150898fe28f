"""What a metric costs by dimension, with its floor and after it: three of them within 10 s at d = 1000.

The perfect model of a Gaussian, 2000 samples against 2000 held-out points, CPU seconds of one thread. A floor
is ten more values, once per data set and process. The exit code is 1 if fisher, sliced_wasserstein and
energy_distance together take more than 10 s at d = 1000, their floors included.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import torch

from ebmark import registry
from ebmark.api import Dataset, Energy, Evaluation, Metric, Rng, Value
from ebmark.evaluate import MODEL_SAMPLES, TEST_POINTS
from ebmark.networks.truth import Truth

HELD = ("fisher", "sliced_wasserstein", "energy_distance")  # to the bar
OTHERS = ("log_density_mse", "mmd", "coverage", "precision", "c2st")
LARGE, BAR = 1000, 10.0


def evaluation(d: int) -> Evaluation:
    """A perfect model and exact samples."""
    data: Dataset = registry.make(registry.ref("dataset", "gaussian", dim=d))
    samples = data.sample(MODEL_SAMPLES, Rng.of("metrics", d, "samples"))
    known, kept = Value(value=0.0, se=0.0, lo=0.0, hi=0.0), dict[Any, tuple[float, float]]()

    def pair(i: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = Rng.of("metrics", d, i)
        return data.sample(n, rng), data.sample(TEST_POINTS, rng)

    return Evaluation(
        energy=Energy(Truth(data, torch.zeros(()))),
        dataset=data,
        test=data.sample(TEST_POINTS, Rng.of("metrics", d, "test")),
        log_z=lambda: known,
        samples=lambda: samples,
        true_pair=pair,
        rng=Rng.of("metrics"),
        floors=kept,
    )


def seconds(metric: Metric, at: Evaluation) -> float:
    """CPU seconds of one value."""
    begin = time.process_time()
    metric.measure(at)
    return time.process_time() - begin


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 32, LARGE])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    held = 0.0
    print(f"{'d':>5}  {'metric':20} {'with floor':>10} {'after':>10}")
    for d in arguments.dims:
        at = evaluation(d)
        for name in (*HELD, *OTHERS):
            metric: Metric = registry.make(registry.ref("metric", name))
            first, later = seconds(metric, at), seconds(metric, at)
            held += first if d == LARGE and name in HELD else 0
            print(f"{d:5}  {name:20} {first:8.2f} s {later:8.2f} s", flush=True)
    if LARGE not in arguments.dims:
        return 0
    print(f"{'pass' if held <= BAR else 'MISS'}  {', '.join(HELD)} at d = {LARGE}: {held:.1f} s of {BAR:g} s")
    return int(held > BAR)


if __name__ == "__main__":
    sys.exit(main())
