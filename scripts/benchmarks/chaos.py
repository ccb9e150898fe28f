"""Kills a worker, the driver or Ray's daemon in the midst of a study, resumes, and compares (20 minutes)."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import chaos

TRIALS = 200


def main() -> int:
    """Prints a line per round; the exit code is 1 if a round went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, good, killed = random.Random(arguments.seed), 0, Counter[str]()
    # One thread per process, as Ray's workers have, so that the sums are rounded alike.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        (Path(name) / "alone").mkdir()
        expected = chaos.undisturbed(Path(name) / "alone", TRIALS)
        for i in range(arguments.rounds):
            folder = Path(name) / f"{i}-{secrets.token_hex(2)}"
            folder.mkdir()
            victims = rng.choices(chaos.VICTIMS, k=rng.choice((1, 1, 2, 3)))
            begin = time.perf_counter()
            found = chaos.disturbed(folder, expected, TRIALS, rng, victims)
            good += not found.faults
            killed.update(one.split()[0] for one in found.victims)
            verdict = "; ".join(found.faults) or "equal"
            what = ", ".join(found.victims) or "nothing in time"
            seconds = time.perf_counter() - begin
            print(f"{i + 1:3}  {what:60} {found.runs} runs, {seconds:4.0f} s  {verdict}", flush=True)
            if found.faults:
                print((folder / "log.txt").read_text()[-3000:], flush=True)
    shots = ", ".join(f"{n} {who}s" for who, n in sorted(killed.items()))
    print(f"{good} of {arguments.rounds} rounds equal an undisturbed run; killed {shots}")
    return int(good < arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
