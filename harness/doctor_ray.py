"""What may be wrong with Ray on this machine: who can reach it, and whether it asks for a token.

Looks at processes and ports, and asks each cluster that it comes across one question without a token.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebmark.findings import Check, judged, note, well

DASHBOARD = 8265
_LISTENING = "0A"
_LOOPBACK = re.compile(r"[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")  # as /proc/net writes it
_TOKEN = (
    "`ray stop` on its nodes; then on each, before `ray start`: `export RAY_AUTH_MODE=token "
    "RAY_AUTH_TOKEN_PATH=FILE`, the same FILE everywhere (`ray get-auth-token --generate` makes one)"
)

Ask = Callable[[str], bool | None]


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of Ray that this user may look into.

    Attributes:
        name: of the program, without its folder.
        cluster: address of the control service that it was started with, or "".
        token: whether its environment switches token authentication on; None where its title hides that.
        ports: on which it listens for other machines.
    """

    name: str
    cluster: str
    token: bool | None
    ports: tuple[int, ...]


def ray_checks(environ: Mapping[str, str], proc: Path, ask: Ask) -> list[Check]:
    """Every check of Ray.

    Args:
        environ: of this process.
        proc: the kernel's process file system.
        ask: whether the cluster at an address answers without a token; None where nobody answers.
    """
    ours = processes(proc)
    return [
        cluster(environ, ours),
        authentication(environ, ours, ask),
        ports(ours),
        dashboard(proc),
        usage(environ),
    ]


def processes(proc: Path) -> list[Process]:
    """Ray's processes on this machine, those of other users left out."""
    sockets = dict(_listening(proc) or ())
    found = []
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if not (name := _program(command)):
                continue
            environ = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            whole = any(text.startswith("PATH=") for text in environ)
            owned = {os.readlink(link) for link in (folder / "fd").iterdir()}
            reached = [sockets[link] for link in owned & set(sockets)]
            at = (text.partition("=")[2] for text in command if text.startswith("--gcs-address="))
            found.append(
                Process(
                    name=name,
                    cluster=next(at, ""),
                    token="RAY_AUTH_MODE=token" in environ or (False if whole else None),
                    ports=tuple(sorted({port for host, port in reached if not _LOOPBACK.fullmatch(host)})),
                )
            )
    return sorted(found, key=lambda process: process.name)


def _program(command: list[str]) -> str:
    """The name of a program of Ray's, "" for any other."""
    name = Path(command[0]).name
    if name in ("raylet", "gcs_server") or command[0].startswith("ray::"):
        return name.partition(" ")[0]
    scripts = [text for text in command if re.search(r"/ray/(dashboard|_private)/.*\.py$", text)]
    return Path(scripts[0]).stem if scripts else ""


def _recorded(environ: Mapping[str, str]) -> tuple[str, Path]:
    """Where ``--address auto`` leads, "" for nowhere, and the file that says so."""
    file = Path(environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    with suppress(OSError):
        return file.read_text().strip(), file
    return "", file


def cluster(environ: Mapping[str, str], ours: Iterable[Process]) -> Check:
    """Which cluster a run joins."""
    name = "ray cluster"
    if address := environ.get("RAY_ADDRESS"):
        mend = "`unset RAY_ADDRESS` to run on this machine alone"
        return note(name, f"RAY_ADDRESS is {address}: `ebmark run` joins it", mend)
    address, file = _recorded(environ)
    recorded = f"{address} recorded in {file}" if address else "none recorded"
    running = "running" if any(process.name == "raylet" for process in ours) else "not running"
    found = f"{recorded}, Ray is {running} here; `ebmark run` starts its own"
    return note(name, found, f"`--address {address}` to use it" if address else "")


def authentication(environ: Mapping[str, str], ours: Iterable[Process], ask: Ask) -> Check:
    """Whoever reaches a cluster that asks for no token can run programs as its owner."""
    name, mode = "ray authentication", environ.get("RAY_AUTH_MODE", "")
    known = (environ.get("RAY_ADDRESS", ""), _recorded(environ)[0], *(process.cluster for process in ours))
    answers = {address: ask(address) for address in dict.fromkeys(known) if ":" in address}
    if bare := [address for address, answer in answers.items() if answer]:
        found = (
            f"the Ray at {', '.join(bare)} answers without a token: whoever reaches it runs programs there"
        )
        return judged(name, False, found, _TOKEN)
    if mode and mode != "token":
        return judged(name, False, f"RAY_AUTH_MODE is {mode}", "`unset RAY_AUTH_MODE`, or set it to token")
    if closed := [address for address, answer in answers.items() if answer is False]:
        return well(name, f"the Ray at {', '.join(closed)} asks for a token")
    setting = f"RAY_AUTH_MODE is {mode}" if mode else "a Ray that `ebmark run` starts asks for a token"
    return well(name, f"no Ray answers here; {setting}")


def ports(ours: Iterable[Process]) -> Check:
    """Ports of Ray that other machines can reach."""
    name, reached = "ray ports", [process for process in ours if process.ports]
    if not reached:
        return well(name, "no Ray of yours listens to other machines")
    bare = [process for process in reached if process.token is False]
    shown = ", ".join(f"{process.name} {process.ports[0]}" for process in bare or reached)
    if bare:
        return judged(name, False, f"open to other machines without a token: {shown}", _TOKEN)
    return note(name, f"open to other machines, with a token: {shown}")


def dashboard(proc: Path) -> Check:
    """Whoever reaches the dashboard can run code as its owner."""
    name, sockets = "ray dashboard", _listening(proc)
    if sockets is None:
        return note(name, "unknown, the kernel does not list open ports")
    where = [host for _, (host, port) in sockets if port == DASHBOARD]
    if not where:
        return well(name, f"nothing listens on port {DASHBOARD}")
    safe = all(_LOOPBACK.fullmatch(host) for host in where)
    found = f"port {DASHBOARD} is open to {'this machine only' if safe else 'other machines'}"
    return judged(name, safe, found, "`ray stop`, then `ray start --head --dashboard-host 127.0.0.1`")


def _listening(proc: Path) -> list[tuple[str, tuple[str, int]]] | None:
    """What listens: socket as /proc/PID/fd names it, address in the kernel's hexadecimal, port."""
    tables = [path for name in ("tcp", "tcp6") if (path := proc / "net" / name).exists()]
    if not tables:
        return None
    rows = [line.split() for path in tables for line in path.read_text().splitlines()[1:]]
    here = [(f"socket:[{row[9]}]", row[1].split(":")) for row in rows if row[3] == _LISTENING]
    return [(socket, (host, int(port, 16))) for socket, (host, port) in here]


def usage(environ: Mapping[str, str]) -> Check:
    """Statistics that Ray sends once an hour."""
    name = "ray usage statistics"
    if environ.get("RAY_USAGE_STATS_ENABLED") == "0":
        return well(name, "off")
    found = "`ebmark run` switches them off for the Ray it starts"
    return note(name, found, "`export RAY_USAGE_STATS_ENABLED=0` before a `ray start` of your own")
