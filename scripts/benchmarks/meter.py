"""What timing the phases of a step adds to it: steps with and without, interleaved (2 minutes on one core).

Each step is timed by two marks; a divided one has more inside. The share is that of the cost lane's column
`meter_share`, but of the processor's seconds, so that a loaded machine does not blur it. The exit code is 1
if a median over the blocks exceeds the bar.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from steps import BATCH, Case, training
from timing.interleave import quartiles

from ebmark.env import describe

BAR = 0.02
CASES = (Case(method="fd_ssm"), Case(method="dsm"), Case(method="nce"), Case(method="cd", settings={"k": 10}))


class ProcessorClock:
    """Marks are processor seconds of this thread."""

    def mark(self) -> float:
        """Now."""
        return time.thread_time()

    def seconds(self, begin: float, end: float) -> float:
        """From one mark to another."""
        return end - begin


def shares(case: Case, d: int, blocks: int, steps: int) -> list[float]:
    """The share in each of some blocks of steps."""
    run = training(case, d)
    if run is None:
        raise ValueError(f"{case.label} declines d = {d}")
    run.sliced, run.meter.clock = True, ProcessorClock()
    found = []
    for block in range(blocks + 1):
        run.step_times.clear()
        for _ in range(steps):
            run.step()
        if block:  # the first warms up
            found.append(run.meter_share())
    return found


def main() -> int:
    """Prints the share by method and dimension."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 32])
    parser.add_argument("-n", "--blocks", type=int, default=11, help="blocks of each cell (default: 11)")
    parser.add_argument("--steps", type=int, default=300, help="steps in a block (default: 300)")
    parser.add_argument("--quick", action="store_true", help="3 blocks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    blocks = 3 if arguments.quick else arguments.blocks
    print(f"{describe()['cpu']}, torch {torch.__version__}, 1 thread, batch {BATCH}")
    print(f"{'method':12} {'d':>4} what the phases add, its quartiles; at most {BAR:.0%}")
    missed = 0
    for case in CASES:
        for d in arguments.dims:
            low, middle, high = quartiles(shares(case, d, blocks, arguments.steps))
            missed += middle > BAR
            verdict = "pass" if middle <= BAR else "MISS"
            print(f"{case.label:12} {d:4} {middle:7.2%} ({low:.2%} to {high:.2%}) {verdict}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
