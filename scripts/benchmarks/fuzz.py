"""Mutated studies and damaged results folders: no traceback, no hang, no good row lost (20,000 cases)."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests import fuzzing  # noqa: E402
from tests.test_fuzz import base  # noqa: E402

MEMORY = 24 * 2**30  # bytes of address space, most of it never used: a wild size must not take the machine
VERBS = ("show", "compare", "export", "merge", "plan")  # one of them in turn, after ``status``
REPORTED = 10  # one folder of so many goes through the report's tables too
Bear = Callable[[Any, int], str]  # of a case and its number: how it ended


class Faults:
    """What was found, by what it looks like, each with its smallest case."""

    def __init__(self) -> None:
        self.cases: dict[str, Any] = {}
        self.ended: Counter[str] = Counter()

    def of(self, bear: Bear) -> Callable[[Any], None]:
        """A test that notes a fault and goes on."""

        def case(given: Any) -> None:
            try:
                self.ended[bear(given, self.ended.total())] += 1
            except fuzzing.Fault as fault:
                self.ended["FAULT"] += 1
                key = str(fault)[:300]
                if key not in self.cases or len(repr(given)) < len(repr(self.cases[key])):
                    self.cases[key] = given
                    print(f"FAULT {key}\n      {given!r:.2000}", flush=True)

        return case


def run(
    faults: Faults, strategy: SearchStrategy[Any], bear: Callable[[Any, int], str], n: int, at: int
) -> float:
    """Draws ``n`` cases; the seconds of the processor that they took."""
    begin = time.process_time()
    case = faults.of(bear)

    @seed(at)
    @settings(
        max_examples=n, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(strategy)
    def each(given: Any) -> None:
        case(given)

    each()
    return time.process_time() - begin


def study(text: str, number: int) -> str:
    """A mutated study; one of four that load is planned too."""
    return "study " + fuzzing.bear_spec(text, planned=number % 4 == 0, quick=number % 3 == 0)


def folder(whole: Path) -> Bear:
    """Damages a copy of ``whole``."""

    def bear(damages: Any, number: int) -> str:
        verbs = ("status", "report" if number % REPORTED == 0 else VERBS[number % len(VERBS)])
        read = fuzzing.bear_folder(whole, damages, verbs)["status"]
        return "folder read" if read else "folder refused"

    return bear


def main() -> int:
    """Prints how the cases ended; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=15_000)
    parser.add_argument("--folders", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faults = Faults()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        whole = base(Path("base").absolute())
        for what, n, strategy, bear in (
            ("studies", given.studies, fuzzing.specs, study),
            ("folders", given.folders, fuzzing.damages(), folder(whole)),
        ):
            if n:
                seconds = run(faults, strategy, bear, n, given.seed)
                print(f"{what}: {n} in {seconds:.0f} s, {1e3 * seconds / n:.0f} ms of CPU each", flush=True)
    print(f"seed {given.seed}: " + ", ".join(f"{n} {how}" for how, n in sorted(faults.ended.items())))
    print(f"{len(faults.cases)} kinds of faults: {'pass' if not faults.cases else 'MISS'}")
    return int(bool(faults.cases))


if __name__ == "__main__":
    sys.exit(main())
