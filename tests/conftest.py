"""What every test gets: a private home, Ray on loopback, one thread, the command line, the `gpu` marker."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

SINGLE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Ray reads its variables when it is imported, so they stand before any test module is.
ISOLATED_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only, on every platform
}

_private = pytest.StashKey[Path]()


def _short_folder() -> Path:
    """A new folder whose path leaves room for Ray's sockets: they add 64 bytes, and 107 is the limit."""
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="eb-", dir=base if len(base) <= 16 else "/tmp"))


def pytest_configure(config: pytest.Config) -> None:
    """Points the home and Ray into a private folder before a test module is imported."""
    config.stash[_private] = folder = _short_folder()
    home = folder / "home"  # apart from Ray's files, so that a test can see what reaches a home
    home.mkdir()
    # With this file in its home Ray does not ask the cloud's metadata service where it runs.
    (home / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(ISOLATED_RAY, HOME=str(home), RAY_TMPDIR=str(folder), RAY_AUTH_TOKEN_PATH=str(token))
    os.environ.update(dict.fromkeys(SINGLE_THREAD, "1"))
    # A shell starts what is in the background with it ignored, and what tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the private folder."""
    shutil.rmtree(config.stash[_private], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device; torch.cuda.is_available() is False")
        for item in marked:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def reference() -> tuple[Tensor, Tensor]:
    """The inputs A ``(400, 3)`` and B ``(300, 3)`` of values that other libraries gave for metrics."""
    import numpy as np
    import torch

    rng = np.random.default_rng(20240601)
    a = rng.standard_normal((400, 3))
    b = rng.standard_normal((300, 3)) * 1.2 + np.array([0.5, 0, -0.25])
    assert a.sum() == pytest.approx(10.146258451129981, abs=1e-9)
    return torch.from_numpy(a), torch.from_numpy(b)


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own: ``cli("run", "smoke", "-o", path)``."""

    def run(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ebmark", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run
