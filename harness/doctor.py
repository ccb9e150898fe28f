"""What may be wrong with this machine and how to mend it; looks, but starts nothing and sends nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ebmark import env
from ebmark.trust import REASONS

DASHBOARD = 8265
GIB = 2**30
_LISTENING = "0A"
_LOOPBACK = re.compile(r"[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")  # as /proc/net writes it


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: True well, False wrong, None neither (for information).
        found: what is there, one line.
        mend: what to do about it, empty where nothing is to be done.
    """

    name: str
    ok: bool | None
    found: str
    mend: str = ""


def checks(results: Path = Path("results"), proc: Path = Path("/proc")) -> list[Check]:
    """Every check in the order in which they are shown.

    Args:
        results: where runs write.
        proc: the kernel's process file system.
    """
    return [
        _python(),
        _packages(),
        _cores(),
        _memory(proc),
        _note("gpu", "; ".join(env.gpus()) or "none, trials run on the CPU"),
        _load(os.getloadavg()[0], env.cores()),
        _ray_cluster(os.environ, proc),
        _ray_authentication(os.environ),
        _ray_dashboard(proc),
        _ray_usage(os.environ),
        _results(results),
    ]


def reasons() -> list[Check]:
    """Every reason for which a timing is not compared: how its column `distrust` says it, and what to do."""
    return [_note(f'timing "{phrase}"', meaning, mend) for phrase, (meaning, mend) in REASONS.items()]


def _well(name: str, found: str) -> Check:
    return Check(name=name, ok=True, found=found)


def _note(name: str, found: str, mend: str = "") -> Check:
    return Check(name=name, ok=None, found=found, mend=mend)


def _judged(name: str, ok: bool, found: str, mend: str) -> Check:
    return Check(name=name, ok=ok, found=found, mend="" if ok else mend)


def _python() -> Check:
    version, allowed = platform.python_version(), metadata.metadata("ebmark")["Requires-Python"]
    ok = SpecifierSet(allowed).contains(version, prereleases=True)
    return _judged("python", ok, version, f"install a Python that is {allowed}")


def _packages() -> Check:
    """Every requirement of the package, those of the extras left out."""
    wanted = [Requirement(text) for text in metadata.requires("ebmark") or []]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = {f"'{r.name}{r.specifier}'": problem for r in wanted if (problem := _problem(r))}
    found = "; ".join(wrong.values()) or ", ".join(map(" ".join, env.versions().items()))
    return _judged("packages", not wrong, found, f"pip install {' '.join(wrong)}")


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
    return _note("cores", f"{env.cores()}; {settings}; a trial sets its own threads")


def _memory(proc: Path) -> Check:
    try:
        text = (proc / "meminfo").read_text()
    except OSError:
        return _note("memory", "unknown")
    total, free = (
        int(match[1]) * 1024 / GIB if (match := re.search(rf"^{key}:\s+(\d+) kB", text, re.M)) else 0.0
        for key in ("MemTotal", "MemAvailable")
    )
    ok = free >= 1 + 0.5 * env.cores()  # Ray takes 0.4 GiB, torch in each worker a quarter
    mend = "close other programs, or run fewer trials at a time with `--jobs N`"
    return _judged("memory", ok, f"{free:.1f} of {total:.1f} GiB free", mend)


def _load(load: float, cores: int) -> Check:
    """A trial of the cost lane needs a core to itself."""
    mend = "wait until other programs end; timings taken now are marked as not trusted"
    return _judged("load", load <= max(0.5, cores - 1), f"{load:.2f} on {cores} cores", mend)


def _ray_cluster(environ: Mapping[str, str], proc: Path) -> Check:
    name = "ray cluster"
    if address := environ.get("RAY_ADDRESS"):
        mend = "`unset RAY_ADDRESS` to run on this machine alone"
        return _note(name, f"RAY_ADDRESS is {address}: `ebmark run` joins it", mend)
    record = Path(environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        address = record.read_text().strip()
    except OSError:
        address = ""
    recorded = f"{address} recorded in {record}" if address else "none recorded"
    running = "running" if _runs("raylet", proc) else "not running"
    found = f"{recorded}, Ray is {running} here; `ebmark run` starts its own"
    return _note(name, found, f"`--address {address}` to use it" if address else "")


def _runs(program: str, proc: Path) -> bool:
    for process in proc.glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:  # it has ended meanwhile, or is another user's
            continue
        if Path(command).name == program:
            return True
    return False


def _ray_authentication(environ: Mapping[str, str]) -> Check:
    name, mode = "ray authentication", environ.get("RAY_AUTH_MODE", "")
    mend = "on a cluster, `export RAY_AUTH_MODE=token` on every node before `ray start`"
    if not mode:
        return _note(name, "RAY_AUTH_MODE is not set; a local run uses a token", mend)
    return _judged(name, mode == "token", f"RAY_AUTH_MODE is {mode}", mend)


def _ray_dashboard(proc: Path) -> Check:
    """Whoever reaches the dashboard can run code as its owner."""
    name, where = "ray dashboard", _listening(DASHBOARD, proc)
    if where is None:
        return _note(name, "unknown, the kernel does not list open ports")
    if not where:
        return _well(name, f"nothing listens on port {DASHBOARD}")
    safe = all(_LOOPBACK.fullmatch(address) for address in where)
    found = f"port {DASHBOARD} is open to {'this machine only' if safe else 'other machines'}"
    return _judged(name, safe, found, "`ray stop`, then `ray start --head --dashboard-host 127.0.0.1`")


def _listening(port: int, proc: Path) -> list[str] | None:
    """Addresses, in the kernel's hexadecimal, at which something listens on ``port``; None if unknown."""
    tables = [path for name in ("tcp", "tcp6") if (path := proc / "net" / name).exists()]
    if not tables:
        return None
    rows = [line.split() for path in tables for line in path.read_text().splitlines()[1:]]
    here = [row[1].split(":") for row in rows if row[3] == _LISTENING]
    return [address for address, number in here if int(number, 16) == port]


def _ray_usage(environ: Mapping[str, str]) -> Check:
    name = "ray usage statistics"
    if environ.get("RAY_USAGE_STATS_ENABLED") == "0":
        return _well(name, "off")
    found = "not switched off in the environment; `ebmark run` switches them off for the Ray it starts"
    return _note(name, found, "`export RAY_USAGE_STATS_ENABLED=0` before `ray start`")


def _results(results: Path) -> Check:
    """Write permission and space of ``results``, or of where it would be made."""
    folder = next(path for path in (results.absolute(), *results.absolute().parents) if path.exists())
    mend = "write elsewhere with `-o DIR`"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return _judged("results", False, f"{folder} cannot be written", mend)
    free = shutil.disk_usage(folder).free / GIB
    return _judged("results", free >= 1, f"{folder}: {free:.1f} GiB free", f"free some space, or {mend}")
