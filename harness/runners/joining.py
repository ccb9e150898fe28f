"""A Ray cluster that runs already: joined, given the study's files, and looked over before any trial starts.

Nodes need no shared folder. The plug-ins and tables that the user has named are sent along, nothing else of
the current folder; what lies elsewhere must be at the same path on every node.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ebmark.env import versions
from ebmark.errors import EbmarkError
from ebmark.execute import harness_version
from ebmark.files import is_file, split
from ebmark.record import Row
from ebmark.runners.node import Bag, content
from ebmark.runners.placement import Node
from ebmark.trial import Ref

REACH = 5.0  # seconds in which an address must answer
ASK = 20.0  # seconds for a question to the control service of a cluster that answers
LOOK = 180.0  # seconds in which every node must have started Python and imported torch from a cold disk
MOST = 100 * 2**20  # bytes of files to send along; Ray refuses 500 MiB
EXACT = ("ebmark", "torch")  # of which every node needs the same version: numbers depend on them


def join(address: str, bag: Bag, threads: Mapping[str, str]) -> Any:
    """Joins a running cluster; returns Ray's module.

    Args:
        address: ``auto`` or ``HOST:PORT``.
        bag: the files to send along.
        threads: variables of the workers' environment that hold their number of threads.

    Raises:
        EbmarkError: nothing answers there, or it refuses us.
    """
    _must_answer(address)
    variables = dict(threads)
    if data := os.environ.get("EBMARK_DATA"):
        variables["EBMARK_DATA"] = os.path.abspath(data)
    settings: dict[str, Any] = {"env_vars": variables}
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")  # of a job that was submitted: ours goes first
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with tempfile.TemporaryDirectory(prefix="ebmark-") as staged:
        for path in bag.files:
            target = Path(staged, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if bag.files:
            settings["working_dir"] = staged
        try:
            ray.init(address=address, runtime_env=settings, log_to_driver=False, logging_level=logging.ERROR)
        except ray.exceptions.AuthenticationError as error:
            raise EbmarkError(_unauthenticated(address)) from error
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EbmarkError(f"--address {address}: {_first_line(error)}; next: ebmark doctor") from error
    return ray


def packed(plugins: Sequence[Ref]) -> Bag:
    """The user's files among the plug-ins that lie below the current folder.

    Raises:
        EbmarkError: they are too large to be sent.
    """
    paths = [split(ref.name)[0] for ref in plugins if is_file(ref.name)]
    tables = (json.loads(ref.args) for ref in plugins if ref.kind == "dataset" and ref.name == "file")
    paths += [os.path.normpath(args["path"]) for args in tables]
    ours = sorted({path for path in paths if not os.path.isabs(path) and not path.startswith("..")})
    sizes = {path: os.path.getsize(path) for path in ours}
    if sum(sizes.values()) > MOST:
        path = max(sizes, key=lambda path: sizes[path])
        raise EbmarkError(
            f"{path}: {sizes[path] / 2**20:.0f} MiB, too large to be sent to the nodes; next: put it at the "
            "same path on every node and name it by that path"
        )
    return Bag(folder=os.getcwd(), files={path: content(Path(path)) for path in ours})


def look_over(ray: Any, nodes: Sequence[Node], bag: Bag, plugins: Sequence[Ref]) -> dict[str, Row]:
    """The ``env`` row of every node, by Ray's id of it; one task on each imports all that the study needs.

    Raises:
        EbmarkError: a node lacks something, or does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_looker())
    here, ours = versions(), pickle.dumps((bag, plugins, harness_version()))
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        asked[task.options(scheduling_strategy=there).remote(here, EXACT, ours)] = node
    finished, silent = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK)
    if silent:
        raise EbmarkError(
            f"node {asked[silent[0]].address}: no answer within {LOOK:g} s; next: `ray status` says how it is"
        )
    found = {}
    for ref in finished:
        node = asked[ref]
        try:
            row, wrong = ray.get(ref)
        except ray.exceptions.RayError as error:
            row, wrong = {}, _first_line(error)
        if wrong:
            raise EbmarkError(f"node {node.address}: {wrong}")
        found[node.id] = row
    return found


def _looker() -> Any:
    """The task; as an inner function it travels by value, so that it runs where ebmark is missing."""

    def look(wanted: dict[str, str], exact: tuple[str, ...], ours: bytes) -> tuple[dict[str, Any], str]:
        import pickle
        import sys
        from importlib import metadata

        for package, version in wanted.items():
            install = f"next: {sys.executable} -m pip install {package}=={version} there"
            try:
                found = metadata.version(package)
            except metadata.PackageNotFoundError:
                return {}, f"{package} is missing in {sys.executable}; {install}"
            if package in exact and found.partition("+")[0] != version.partition("+")[0]:
                return {}, f"{package} {found}, the driver has {version}; {install}"
        from ebmark.runners.node import examine

        row, wrong = examine(*pickle.loads(ours))
        return dict(row), wrong

    return look


def open_to_all(address: str) -> bool | None:
    """Whether the cluster at ``HOST:PORT`` answers a client that has no token; None where nobody answers.

    Asked in a process of its own, since Ray keeps the token that it has read first.
    """
    ask = (
        "import sys; from ray._raylet import GcsClient; "
        "GcsClient(address=sys.argv[1]).internal_kv_get(b'session_name', b'session')"
    )
    without = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", ask, address],
            env={**without, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            timeout=ASK,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == 0:
        return True
    return False if b"AuthenticationError" in done.stderr else None


def _must_answer(address: str) -> None:
    """Ray would try for forty seconds."""
    if address == "auto":
        return
    if "://" in address:
        raise EbmarkError(
            f"--address {address}: a client's address; allowed: auto, or HOST:PORT of the head node"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise EbmarkError(
            f"--address {address}: no address; allowed: auto, or HOST:PORT such as 10.0.0.1:6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise EbmarkError(
            f"--address {address}: nothing answers there ({why}); next: `ray start --head` on that node, "
            "or leave --address out to run on this machine alone"
        ) from error


def _unauthenticated(address: str) -> str:
    has = bool(os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"))
    given = "another token is set here" if has else "none is set here"
    return (
        f"--address {address}: the cluster asks for its token, and {given}; next: export "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH, the file with the token that its nodes have"
    )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # Of an error in a task the last line says what, the others where.
    return " ".join(
        (lines[-1] if "Error" in type(error).__name__ and lines else type(error).__name__).split()
    )
