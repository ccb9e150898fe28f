"""How long `ebmark check` takes for every method, which must be below a minute (1 minute on one core)."""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch

from ebmark import registry
from ebmark.conformance import check

MOST = 60.0  # CPU seconds of one method's check; wall-clock time says what else runs on the machine


def show(name: str) -> tuple[float, float, bool]:
    """Prints the row of a method; its wall-clock and CPU seconds, and whether it passed in time."""
    wall, cpu = time.perf_counter(), time.process_time()
    findings = list(check(registry.get("method", name)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    failed = [f for f in findings if not f.ok]
    ok = not failed and cpu <= MOST
    print(f"{name:20} {wall:8.2f} {cpu:8.2f} {len(findings):7} {'pass' if ok else 'MISS'}", flush=True)
    for f in failed:
        print(f"  {f.what}: {f.found}", flush=True)
    return wall, cpu, ok


def main() -> int:
    """Prints a row per method and the median; the exit code is 1 if a check fails or takes too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only methods with this text in their name")
    only = parser.parse_args().only
    names = [name for name in registry.names("method") if only in name]
    if not names:
        parser.error(f"--only: got {only!r}, allowed: part of {', '.join(registry.names('method'))}")
    torch.set_num_threads(1)
    print(f"{'method':20} {'wall, s':>8} {'CPU, s':>8} {'checks':>7}")
    rows = [show(name) for name in names]
    wall, cpu, ok = zip(*rows, strict=True)
    print(f"{'median':20} {statistics.median(wall):8.2f} {statistics.median(cpu):8.2f}")
    return int(not all(ok))


if __name__ == "__main__":
    sys.exit(main())
