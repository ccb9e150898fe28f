"""Where exact score matching runs out of memory: a step's peak against the dimension (3 minutes on one core).

Two forms of the same loss on the same network: the method's own, and plain double backward. Each step runs in
a process of its own whose data segment is capped, and the table ends where neither form fits.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from steps import BATCH, Case, training
from timing.floors import slow_floor

from ebmark.env import describe
from ebmark.readings import peak_memory, reset_peak

MIB = 2**20
FORMS = ("method", "double backward")
OUT = 3  # exit code of a child whose memory ran out
DIMS = [2**i for i in range(1, 13)]


def step(form: str, d: int) -> Callable[[], object]:
    """A step of exact score matching in one of its forms."""
    run = training(Case(method="sm"), d)
    assert run is not None
    slow = slow_floor(run.method, run.module, next(run.stream))
    assert slow is not None
    return run.step if form == FORMS[0] else slow


def child(form: str, d: int, cap: int) -> int:
    """Prints what one step adds to the process's peak, in bytes; ``OUT`` where the cap was too low."""
    torch.set_num_threads(1)
    try:
        run = step(form, d)
        reset_peak("cpu")
        before = peak_memory("cpu")
        resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
        run()
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            return OUT
        raise
    print(peak_memory("cpu") - before)
    return 0


def measured(form: str, d: int, cap: int) -> float | None:
    """The bytes that a fresh process says, None where its memory ran out."""
    command = [sys.executable, __file__, "--child", form, "--dims", str(d), "--cap", str(cap // MIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == OUT:
        return None
    if done.returncode:
        sys.exit(f"memory: {form} at d = {d} failed: {done.stderr.strip()[-500:]}")
    return float(done.stdout)


def main() -> int:
    """Prints a row per dimension."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument(
        "--cap", type=int, default=4096, help="MiB of data a process may have (default: 4096)"
    )
    parser.add_argument("--child", choices=FORMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cap = arguments.cap * MIB
    if arguments.child:
        return child(arguments.child, arguments.dims[0], cap)
    print(f"{describe()['cpu']}, torch {torch.__version__}, batch {BATCH}, cap {arguments.cap} MiB")
    print(f"{'d':>5}", *(f"{form + ', MiB':>22}" for form in FORMS))
    fits = dict.fromkeys(FORMS, 0)
    for d in arguments.dims:
        found = {form: measured(form, d, cap) if fits[form] is not None else None for form in FORMS}
        print(
            f"{d:5}", *(f"{'out' if v is None else f'{v / MIB:.0f}':>22}" for v in found.values()), flush=True
        )
        fits = {form: None if v is None else d for form, v in found.items()}
        if not any(fits.values()):
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
