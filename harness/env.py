"""The environment of a trial: machine, versions and git commit; stored once and named by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ebmark.record import row

PACKAGES = ("ebmark", "torch", "ray", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CODE = ("harness", "methods", "datasets", "pyproject.toml")
_SECONDS = 10  # for git and nvidia-smi, either of which can hang on a sick file system or driver


def describe() -> dict[str, Any]:
    """A row of the ``env`` table for this process; imports nothing heavy and fails on no machine."""
    commit, dirty = git_state(Path(__file__).parent)
    values = {
        **dict(zip(("host", "cpu"), machine(), strict=True)),
        "cores": cores(),
        "memory": _memory(),
        "gpu": "; ".join(gpus()),
        "driver": _driver(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": json.dumps(versions(), sort_keys=True),
        "commit": commit,
        "dirty": dirty,
        "threads": json.dumps({name: os.environ[name] for name in THREADS if name in os.environ}),
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    return row("env", {**values, "env": digest})


@cache
def described() -> dict[str, Any]:
    """``describe`` as it was when this process first asked: before a trial has claimed a GPU."""
    return describe()


@cache
def machine() -> tuple[str, str]:
    """Hash of the host's name, and the processor: on equal ones seconds compare."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:16], _cpu()


@cache
def versions() -> dict[str, str]:
    """Installed versions of the packages that matter, read without importing them."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """Names of the accelerators: as torch sees them where it already uses them, else as the driver does."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():  # asking any earlier would claim memory on a device
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return list(_driver_gpus())


@cache
def git_state(package: Path) -> tuple[str, bool]:
    """Commit of the checkout whose ``harness`` is ``package``, and whether it has changes; else ("", False).

    Only code counts as a change, not the results that a run is writing. An installed copy inside somebody's
    repository is not a checkout: that commit says nothing about the code.
    """
    top = output("git", "-C", str(package), "rev-parse", "--show-toplevel").strip()
    if not top or Path(top).resolve() / "harness" != package.resolve():
        return "", False
    commit = output("git", "-C", top, "rev-parse", "--verify", "HEAD").strip()
    return commit, bool(commit and output("git", "-C", top, "status", "--porcelain", "--", *CODE))


@cache
def _driver_gpus() -> tuple[str, ...]:
    names = output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return tuple(line.strip() for line in names.splitlines() if line.strip())


@cache
def _driver() -> str:
    return next(
        iter(output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()), ""
    )


@cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None


def output(*command: str) -> str:
    """What a program prints, "" where it is absent, fails or hangs."""
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}  # `git status` must not lock the index
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=quiet, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout
