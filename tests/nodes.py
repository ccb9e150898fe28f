"""A cluster of machines that are not there: network namespaces joined by a bridge, each with a Ray node.

Every node has its own address, host name and folder for temporary files, and does not see the driver's
current folder. The bridge leads nowhere else: no packet leaves it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

PORT = 6379
# A node that is cut off is given up after some two seconds, a minute by default.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def missing() -> str:
    """Why there can be no such cluster here, "" where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not (shutil.which("ip") and shutil.which("unshare")):
        return "`ip` (Debian's iproute2) or `unshare` is missing"
    name = f"eb{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"ip netns add: {made.stderr.strip()}"
    try:
        bridge = ["ip", "-n", name, "link", "add", "br0", "type", "bridge"]
        done = subprocess.run(bridge, capture_output=True, text=True, check=False)
        return f"no bridges: {done.stderr.strip()}" if done.returncode else ""
    finally:
        ip("netns", "del", name)


def ip(*arguments: str) -> None:
    """Runs ``ip``; CalledProcessError where it refuses."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def wait(until: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``until``."""
    deadline = time.monotonic() + seconds
    while not (value := until()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return value


class Nodes:
    """Nodes 1 to ``n`` with the addresses 10.77.0.1 and on, the head first; a context manager.

    Args:
        n: how many.
        cpus: of each.
        token: whether they ask for one.

    Attributes:
        folder: seen by every node.
        work: the driver's current folder, empty on every node but the head, where the driver runs.
    """

    def __init__(self, n: int = 3, cpus: int = 1, *, token: bool = True) -> None:
        self.n, self.cpus, self.mode = n, cpus, "token" if token else "disabled"
        self._name = f"eb{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix="eb-", dir="/tmp"))
        self.work = self.folder / "work"
        self._token = self.folder / "token"
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Of the head."""
        return f"10.77.0.1:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """Of the nodes and the driver."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # Ray is told to close its eyes to the world: see docs/privacy.md.
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}
        token = {"RAY_AUTH_MODE": self.mode, "RAY_AUTH_TOKEN_PATH": str(self._token)}
        return {**inherited, **quiet, **token, **HEALTH, "HOME": str(self.folder / "home")}

    def __enter__(self) -> Self:
        for name in ("home", "work", "r"):
            (self.folder / name).mkdir()
        (self.folder / "home" / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
        self._token.touch(mode=0o600)
        self._token.write_text(secrets.token_hex(32))
        try:
            self._wire()
            self.start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for space in [self._space(i) for i in range(self.n + 1)]:
            self._kill(space)
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        for child in self._children:
            child.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _space(self, i: int) -> str:
        """The namespace of a node; 0 has the bridge."""
        return f"{self._name}-{i}"

    def _wire(self) -> None:
        switch = self._space(0)
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for i in range(1, self.n + 1):
            space = self._space(i)
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", switch, "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", switch, "link", "set", f"v{i}", "master", "br0", "up")
            ip("-n", space, "addr", "add", f"10.77.0.{i}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")

    def start_all(self) -> None:
        """Starts every node, the head first."""
        self.start(1)
        for i in range(2, self.n + 1):
            self.begin(i)
        for i in range(2, self.n + 1):
            self._wait_started(i)

    def start(self, i: int) -> None:
        """Starts the Ray of a node and waits until it is there."""
        self.begin(i)
        self._wait_started(i)

    def begin(self, i: int) -> None:
        """Starts the Ray of a node."""
        place = ["--head", f"--port={PORT}", "--include-dashboard=false", "--disable-usage-stats"]
        place = place if i == 1 else [f"--address={self.address}"]
        size = [f"--num-cpus={self.cpus}", "--num-gpus=0", "--object-store-memory=100000000"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-ip-address=10.77.0.{i}"]
        ray += [*place, *size, f"--temp-dir={self.folder / 'r'}", "--block"]
        own = (
            "" if i == 1 else f"mount -t tmpfs none {self.folder}/work; mount -t tmpfs none {self.folder}/r;"
        )
        script = f'hostname node{i}; {own} cd {self.folder}/work; exec "$@"'
        command = self.inside(i, "unshare", "--mount", "--uts", "sh", "-ec", script, "sh", *ray)
        with open(self._log(i), "w") as log:
            started = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self._children.append(started)

    def _log(self, i: int) -> Path:
        return self.folder / f"node{i}.log"

    def _wait_started(self, i: int) -> None:
        def started() -> bool:
            text = self._log(i).read_text()
            assert "Traceback" not in text, text
            return "Ray runtime started" in text

        wait(started, 120, f"start of node {i}")

    def inside(self, i: int, *command: str) -> list[str]:
        """A command that runs on a node."""
        return ["ip", "netns", "exec", self._space(i), *command]

    def driver(
        self, *arguments: object, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """The command line on the head's machine."""
        return subprocess.Popen(
            self.inside(1, sys.executable, "-m", "ebmark", *map(str, arguments)),
            cwd=self.work,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cut(self, i: int) -> None:
        """Pulls a node's cable."""
        ip("-n", self._space(0), "link", "set", f"v{i}", "down")

    def mend(self, i: int) -> None:
        """Plugs it in again."""
        ip("-n", self._space(0), "link", "set", f"v{i}", "up")

    def dead(self, i: int) -> bool:
        """Whether the head has given a node up."""
        logs = self.folder.glob("r/session_*/logs/gcs_server.out")
        return any(f"10.77.0.{i} has been marked dead" in log.read_text() for log in logs)

    def kill(self, i: int) -> None:
        """Ends every process of a node, on the head the driver too."""
        self._kill(self._space(i))

    def _kill(self, space: str) -> None:
        def none_left() -> bool:
            found = subprocess.run(
                ["ip", "netns", "pids", space], capture_output=True, text=True, check=False
            )
            for pid in map(int, found.stdout.split()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return not found.stdout.split()

        wait(none_left, 20, f"end of the processes in {space}")
