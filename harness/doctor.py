"""What may be wrong with this machine and how to mend it; looks, and changes nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections import Counter
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ebmark import env
from ebmark.address import open_to_all
from ebmark.doctor_ray import Ask, ray_checks
from ebmark.errors import EbmarkError
from ebmark.findings import Check, judged, note
from ebmark.tables import load
from ebmark.trust import REASONS

GIB = 2**30


def checks(
    results: Path = Path("results"), proc: Path = Path("/proc"), ask: Ask = open_to_all
) -> list[Check]:
    """Every check in the order in which they are shown.

    Args:
        results: where runs write.
        proc: the kernel's process file system.
        ask: whether the cluster at an address answers without a token; None where nobody answers.
    """
    return [
        _python(),
        _packages(),
        _cores(),
        _memory(proc),
        note("gpu", "; ".join(env.gpus()) or "none, trials run on the CPU"),
        _load(os.getloadavg()[0], env.cores()),
        *ray_checks(os.environ, proc, ask),
        _results(results),
    ]


def reasons() -> list[Check]:
    """Every reason for which a timing is not compared: how its column `distrust` says it, and what to do."""
    return [note(_timing(phrase), meaning, mend) for phrase, (meaning, mend) in REASONS.items()]


def met(results: Path = Path("results")) -> list[Check]:
    """Of those reasons the ones that timed trials below a folder of results have, and how many."""
    seen: Counter[str] = Counter()
    for folder in results.glob("*"):
        with suppress(EbmarkError, OSError):  # a folder that cannot be read is no matter of the machine
            rows = load(folder, "trials", ["lane", "distrust"]).data.to_pylist()
            given = [row["distrust"] or "" for row in rows if row["lane"] == "cost"]
            seen.update(phrase for why in given for phrase in REASONS if phrase in why)
    return [
        note(_timing(phrase), f"{seen[phrase]} below {results}: {meaning}", mend)
        for phrase, (meaning, mend) in REASONS.items()
        if seen[phrase]
    ]


def _timing(phrase: str) -> str:
    return f'timing "{phrase}"'


def _python() -> Check:
    version, allowed = platform.python_version(), metadata.metadata("ebmark")["Requires-Python"]
    ok = SpecifierSet(allowed).contains(version, prereleases=True)
    return judged("python", ok, version, f"install a Python that is {allowed}")


def _packages() -> Check:
    """Every requirement of the package, those of the extras left out."""
    wanted = [Requirement(text) for text in metadata.requires("ebmark") or []]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = {f"'{r.name}{r.specifier}'": problem for r in wanted if (problem := _problem(r))}
    found = "; ".join(wrong.values()) or ", ".join(map(" ".join, env.versions().items()))
    return judged("packages", not wrong, found, f"pip install {' '.join(wrong)}")


def _problem(requirement: Requirement) -> str:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} {version}, allowed: {requirement.specifier}"


def _cores() -> Check:
    threads = [f"{name}={os.environ[name]}" for name in env.THREADS if name in os.environ]
    settings = ", ".join(threads) or "no thread settings in the environment"
    return note("cores", f"{env.cores()}; {settings}; a trial sets its own threads")


def _memory(proc: Path) -> Check:
    try:
        text = (proc / "meminfo").read_text()
    except OSError:
        return note("memory", "unknown")
    total, free = (
        int(match[1]) * 1024 / GIB if (match := re.search(rf"^{key}:\s+(\d+) kB", text, re.M)) else 0.0
        for key in ("MemTotal", "MemAvailable")
    )
    ok = free >= 1 + 0.5 * env.cores()  # Ray takes 0.4 GiB, torch in each worker a quarter
    mend = "close other programs, or run fewer trials at a time with `--jobs N`"
    return judged("memory", ok, f"{free:.1f} of {total:.1f} GiB free", mend)


def _load(load: float, cores: int) -> Check:
    """A trial of the cost lane needs a core to itself."""
    mend = "wait until other programs end; timings taken now are marked as not trusted"
    return judged("load", load <= max(0.5, cores - 1), f"{load:.2f} on {cores} cores", mend)


def _results(results: Path) -> Check:
    """Write permission and space of ``results``, or of where it would be made."""
    folder = next(path for path in (results.absolute(), *results.absolute().parents) if path.exists())
    mend = "write elsewhere with `-o DIR`"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return judged("results", False, f"{folder} cannot be written", mend)
    free = shutil.disk_usage(folder).free / GIB
    return judged("results", free >= 1, f"{folder}: {free:.1f} GiB free", f"free some space, or {mend}")
