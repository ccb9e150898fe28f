"""A Ray for this run alone: on loopback, with a token, and nothing in the user's home."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ebmark.env import cores
from ebmark.errors import EbmarkError

# Ray reads all of these when it is imported.
ENVIRONMENT = {
    # Ray's processes then use and listen on 127.0.0.1, as on Windows and macOS. `_node_ip_address` does not:
    # Ray replaces 127.0.0.1 by the host's own address and listens on every interface.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_process_group_cleanup_enabled": "1",  # what a worker has started ends with it, also if it is killed
    "RAY_worker_niceness": "0",  # of 15 by default: any other process would slow the trials down
    # A run whose raylet is gone shall end within seconds, but none because a busy machine is slow to answer.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "5",
    # Ray prints crash notices on standard output, whatever is asked; the driver has them as exceptions.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",
}
SOCKET_ROOM = 26  # bytes: a socket's path holds 107, our folder and Ray's add at most 81


def start() -> Any:
    """Starts Ray with a CPU for each that this process may use; returns its module.

    `ray` must not have been imported before with another environment: its driver would lack the token. Ray
    lets workers import from the driver's current folder first: a user's ``torch.py`` there must not be run.
    """
    folder = _folder()
    os.environ.update(ENVIRONMENT)
    token = os.environ.get("RAY_AUTH_TOKEN_PATH") or str(folder / "token")
    os.environ["RAY_AUTH_TOKEN_PATH"] = os.path.abspath(token)
    import ray

    with _deaf(), _home(folder), contextlib.chdir(folder):
        ray.init(
            address="local",
            num_cpus=cores(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(folder / "ray"),
        )
    return ray


@cache
def _folder() -> Path:
    """The private folder, one per process because Ray keeps the first token it reads; removed at exit.

    Raises:
        EbmarkError: ``RAY_TMPDIR`` is no folder to write to.
    """
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    base = base if len(os.fsencode(base)) <= SOCKET_ROOM else "/tmp"
    if not os.access(base, os.W_OK):
        raise EbmarkError(
            f"RAY_TMPDIR: {base} given; allowed: a folder that can be written to; next: mkdir -p {base}"
        )
    folder = Path(tempfile.mkdtemp(prefix="eb-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with open(folder / "token", "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(secrets.token_hex(32))
    # Without it Ray asks the metadata service of three clouds where it runs.
    (folder / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    return folder


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ray's processes inherit that SIGHUP is blocked, as Ray itself does with SIGINT.

    A terminal that is closed sends it to them as well: the driver needs them until it has ended the run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Ray's processes inherit `folder` as home; the worker's task puts the user's back."""
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before
