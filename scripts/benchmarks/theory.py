"""What theory says about methods and samplers, against what the code gives (5 minutes on one core)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.theory import ITEMS, Item


def show(item: Item) -> int:
    """Prints the rows of an item as they come; how many miss."""
    print(f"\n{item.what}")
    missed, start = 0, time.perf_counter()
    for row in item.rows():
        missed += not row.ok
        sign = "<=" if row.bound else "  "
        verdict = "pass" if row.ok else "MISS"
        print(
            f"  {row.what:72} {sign} {row.expected:12.6g} {row.found:13.7g} {row.deviation:>13} {verdict}",
            flush=True,
        )
    print(f"  {time.perf_counter() - start:.1f} s")
    return missed


def main() -> int:
    """Prints every item; the exit code is 1 if a number misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only items with this text in their name")
    parser.add_argument("--quick", action="store_true", help="only what the tests run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"  {'':72}    {'expected':>12} {'found':>13} {'deviation':>13}")
    chosen = [item for item in ITEMS if arguments.only in item.what and not (arguments.quick and item.slow)]
    missed = sum(show(item) for item in chosen)
    print(f"\n{missed} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
