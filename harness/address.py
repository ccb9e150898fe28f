"""Addresses of clusters: whether anybody answers there, and whether it asks who we are."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping

from ebmark.errors import RunError

REACH = 5.0  # seconds in which an address must answer
ASK = 20.0  # seconds for a question to the control service of a cluster that answers


def to_join(address: str | None) -> str | None:
    """The cluster asked for, by option or by RAY_ADDRESS; None, as Ray's "local", is one of our own."""
    address = address or os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address


def must_answer(address: str) -> None:
    """Looks for somebody at ``HOST:PORT``; Ray itself would try for forty seconds.

    Raises:
        RunError: it is no such address, or nobody answers.
    """
    if "://" in address:
        raise RunError(
            f"--address {address}: a client's address; allowed: auto, or HOST:PORT of the head node"
        )
    if not re.fullmatch(r".+:\d+", address):
        raise RunError(f"--address {address}: no address; allowed: auto, or HOST:PORT such as 10.0.0.1:6379")
    try:
        _knock(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise RunError(
            f"--address {address}: nothing answers there ({why}); next: `ray start --head` on that node, "
            "or leave --address out to run on this machine alone"
        ) from error


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()


def open_to_all(address: str) -> bool | None:
    """Whether the cluster at ``HOST:PORT`` answers a client that has no token; None where nobody answers."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    return answers(address, {**bare, "RAY_AUTH_MODE": "disabled"})


def answers(address: str, environment: Mapping[str, str]) -> bool | None:
    """Whether the cluster at ``HOST:PORT`` answers a client with this environment; None where nobody does.

    Asked in a process of its own, since Ray keeps the token that it has read first.
    """
    ask = (
        "import sys; from ray._raylet import GcsClient; "
        "GcsClient(address=sys.argv[1]).internal_kv_get(b'session_name', b'session')"
    )
    command = [sys.executable, "-P", "-c", ask, address]
    try:
        _knock(address)
        done = subprocess.run(command, env=environment, capture_output=True, timeout=ASK, check=False)
    except (OSError, OverflowError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return True
    return False if b"AuthenticationError" in done.stderr else None
