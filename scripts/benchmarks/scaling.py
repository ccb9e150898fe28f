"""What a step costs against the dimension, 2 to 1024, and the length of a chain (10 minutes on one core).

Milliseconds of one processor, medians, interleaved at random; the slope is that of log seconds in log d (or
log k) over the upper half of the sizes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from steps import BATCH, Case, training
from timing.interleave import Times, interleaved

from ebmark import registry
from ebmark.env import describe

DIMS = [2**i for i in range(1, 11)]
CHAINS = (1, 2, 5, 10, 20, 50, 100)
SLOWEST = {"sm": 256, "mle": 2}  # largest dimension of methods whose step grows with it, for the time's sake


def measured(cases: Mapping[int, Sequence[Case]], rounds: int) -> Times[tuple[str, int]]:
    """Times by label and size; the cases of each dimension."""
    cells = {}
    for d, of_d in cases.items():
        for case in of_d:
            if d <= SLOWEST.get(case.method, d) and (run := training(case, d)) is not None:
                cells[case.label, d] = {"step": run.step}
    return interleaved(cells, rounds=rounds)


def row(label: str, sizes: Mapping[int, float]) -> None:
    """Prints the milliseconds and the slope."""
    upper = [*sizes][len(sizes) // 2 :]
    seconds = [sizes[size] for size in upper]
    slope = np.polyfit(np.log(upper), np.log(seconds), 1)[0] if len(upper) > 1 else float("nan")
    print(
        f"{label:22}",
        *(f"{1e3 * value:8.2f}" for value in sizes.values()),
        f"  slope {slope:.2f}",
        flush=True,
    )


def main() -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--methods", nargs="+", metavar="METHOD", help="only these methods")
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("-n", "--rounds", type=int, default=5, help="bursts of each (default: 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.methods or registry.names("method")
    print(f"{describe()['cpu']}, torch {torch.__version__}, 1 thread, batch {BATCH}; ms of processor time")
    cases = [Case(method=name) for name in names]
    times = measured(dict.fromkeys(arguments.dims, cases), arguments.rounds)
    print(f"{'method, d =':22}", *(f"{d:8}" for d in arguments.dims))
    for case in cases:
        sizes = {
            d: statistics.median(each["step"]) for (label, d), each in times.items() if label == case.label
        }
        row(case.label, sizes)
    if "cd" not in names:
        return 0
    samplers = ("ula", "mala", "hmc")
    print(f"{'cd at d = 8, k =':22}", *(f"{k:8}" for k in CHAINS))
    for sampler in samplers:
        by_k = {k: Case(method="cd", settings={"k": k, "sampler": sampler}) for k in CHAINS}
        found = measured({8: [*by_k.values()]}, arguments.rounds)
        row(sampler, {k: statistics.median(found[case.label, 8]["step"]) for k, case in by_k.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
