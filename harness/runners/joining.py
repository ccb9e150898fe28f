"""A Ray cluster that runs already: joined, given the study's files, and looked over before any trial starts.

Nodes need no shared folder. The plug-ins and tables that the user has named are sent along, nothing else of
the current folder; what lies elsewhere must be at the same path on every node.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ebmark.address import answers, must_answer
from ebmark.env import versions
from ebmark.errors import RunError
from ebmark.execute import harness_version
from ebmark.files import is_file, split
from ebmark.record import Row
from ebmark.runners.bag import Bag, content
from ebmark.runners.placement import Machine
from ebmark.trial import Ref

LOOK = 180.0  # seconds in which every node must have started Python and imported torch from a cold disk
MOST = 100 * 2**20  # bytes of files to send along; Ray refuses 500 MiB
TOKEN = (
    "next: export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH, the file with the token that its nodes have"
)
EXACT = ("ebmark", "torch")  # of which every node needs the same version: numbers depend on them


def join(address: str, bag: Bag, threads: Mapping[str, str]) -> Any:
    """Joins a running cluster; returns Ray's module.

    Args:
        address: ``auto`` or ``HOST:PORT``.
        bag: the files to send along.
        threads: variables of the workers' environment that hold their number of threads.

    Raises:
        RunError: nothing answers there, or it refuses us.
    """
    if address != "auto":
        must_answer(address)
    variables = dict(threads)
    if data := os.environ.get("EBMARK_DATA"):
        variables["EBMARK_DATA"] = os.path.abspath(data)
    settings: dict[str, Any] = {"env_vars": variables}
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")  # of a job that was submitted: ours goes first
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints pages of notices of what dies on standard output, whatever is asked; rows say what was lost.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")
    if "RAY_AUTH_MODE" not in os.environ and _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray would not use it; a cluster that needs none does not mind
    _must_have_token(address)
    if address != "auto":
        _must_let_us_in(address, address)  # Ray would try for minutes
    import ray

    with tempfile.TemporaryDirectory(prefix="ebmark-") as staged:
        # Never without one: Ray would let workers import from the driver's current folder first.
        settings["working_dir"] = staged
        Path(staged, ".ebmark").touch()
        for path in bag.files:
            target = Path(staged, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        try:
            ray.init(address=address, runtime_env=settings, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())[:300]
            if found := re.search(r"Ray cluster at (\S+:\d+)", text):  # `auto` has found it
                _must_let_us_in(address, found[1])
            raise RunError(f"--address {address}: {text}; next: ebmark doctor") from error
    return ray


def packed(plugins: Sequence[Ref]) -> Bag:
    """The user's files among the plug-ins that lie below the current folder.

    Raises:
        RunError: they are too large to be sent.
    """
    paths = [split(ref.name)[0] for ref in plugins if is_file(ref.name)]
    tables = (json.loads(ref.args) for ref in plugins if ref.kind == "dataset" and ref.name == "file")
    paths += [os.path.normpath(args["path"]) for args in tables]
    ours = sorted({path for path in paths if not os.path.isabs(path) and not path.startswith("..")})
    sizes = {path: os.path.getsize(path) for path in ours}
    if sum(sizes.values()) > MOST:
        path = max(sizes, key=lambda path: sizes[path])
        raise RunError(
            f"{path}: {sizes[path] / 2**20:.0f} MiB, too large to be sent to the nodes; next: put it at the "
            "same path on every node and name it by that path"
        )
    return Bag(folder=os.getcwd(), files={path: content(Path(path)) for path in ours})


def look_over(ray: Any, nodes: Sequence[Machine], bag: Bag, plugins: Sequence[Ref]) -> dict[str, Row]:
    """The ``env`` row of every node, by Ray's id of it; one task on each imports all that the study needs.

    Raises:
        RunError: a node lacks something, or does not answer.
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
        raise RunError(
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
            raise RunError(f"node {node.address}: {wrong}")
        found[node.id] = row
    return found


def _looker() -> Any:
    """The task; as an inner function it travels by value, so that it runs where ebmark is missing."""

    def look(wanted: dict[str, str], exact: tuple[str, ...], ours: bytes) -> tuple[dict[str, Any], str]:
        import pickle
        from importlib import metadata

        for package, version in wanted.items():
            install = f"next: {sys.executable} -m pip install {package}=={version} there"
            try:
                found = metadata.version(package)
            except metadata.PackageNotFoundError:
                return {}, f"{package} is missing in {sys.executable}; {install}"
            if package in exact and found.partition("+")[0] != version.partition("+")[0]:
                return {}, f"{package} {found}, the driver has {version}; {install}"
        from ebmark.runners.bag import examine

        row, wrong = examine(*pickle.loads(ours))
        return dict(row), wrong

    return look


def _has_token() -> bool:
    given = (os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return any(given) or Path.home().joinpath(".ray", "auth_token").is_file()


def _must_have_token(address: str) -> None:
    """Ray would end in a page of its own where it is told to use a token that is not there."""
    path = "" if os.environ.get("RAY_AUTH_TOKEN") else os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path and content(Path(path)) in ("", content(Path(os.devnull))):
        raise RunError(f"RAY_AUTH_TOKEN_PATH: {path} given; allowed: a file that holds a token; {TOKEN}")
    if os.environ.get("RAY_AUTH_MODE") == "token" and not _has_token():
        raise RunError(f"--address {address}: RAY_AUTH_MODE=token, and there is no token; {TOKEN}")


def _must_let_us_in(address: str, found: str) -> None:
    """Asks the cluster at ``found``, which the user calls ``address``."""
    answer = answers(found, os.environ)
    if answer is None:
        raise RunError(
            f"--address {address}: what listens there does not answer as the head of a Ray cluster; allowed: "
            "the address that `ray start --head` printed, by default HOST:6379, not the dashboard's"
        )
    if not answer:
        used = _has_token() and os.environ.get("RAY_AUTH_MODE") == "token"
        given = "another one is used here" if used else "none is used here"
        raise RunError(f"--address {address}: the cluster asks for its token, and {given}; {TOKEN}")


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # Of an error in a task the last line says what, the others where.
    return " ".join(
        (lines[-1] if "Error" in type(error).__name__ and lines else type(error).__name__).split()
    )
