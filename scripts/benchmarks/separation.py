"""Two modes by quadrature: a weight's variance under each method, and what the Fisher divergence sees.

The numbers of `tests/theory/separation.py`, and those with noise drawn anew at every step, as training does:
they stand beside what the studies `separation` and `myopia` measure. About a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ebmark import registry
from tests.theory.separation import CONTENDERS, contender, divergences, fresh, n_var, of_weight


def values() -> Iterator[tuple[str, float]]:
    """Each number with its key."""
    for m in range(1, 6):
        fisher, kl = divergences(m, 0.2, 0.8)
        yield f"fisher m={m}", fisher
        yield f"kl m={m}", kl
    for m in (1, 3, 5):
        mle = n_var(of_weight(contender("mle", m, normaliser="known"), m))
        yield f"mle m={m}", mle
        for name, settings in CONTENDERS:
            method = contender(name, m, **settings)
            label = registry.label(registry.ref("method", name, **settings))
            yield f"{label} m={m}", n_var(of_weight(method, m)) / mle
            yield f"{label} m={m} fresh", n_var(fresh(method, m)) / mle


def main() -> int:
    """Prints the numbers as they come, and writes them where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="a JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for key, value in values():
        print(f"{key:32} {value:12.6g}", flush=True)
        found[key] = value
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
