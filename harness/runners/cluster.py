"""The Ray that trials run on, ours or one that was joined: its nodes, and which of them takes the times."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ebmark.address import open_to_all
from ebmark.machines import KIND
from ebmark.record import Row
from ebmark.runners.bag import Bag
from ebmark.runners.joining import join, look_over, packed
from ebmark.runners.placement import Machine, Need, fitted, idle, nodes
from ebmark.runners.private import start
from ebmark.trial import Ref

# One thread per trial: two gain nothing at benchmark sizes, and side by side they slow each other 5 to
# 19-fold.
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OPEN = (
    "the cluster asks for no token: whoever reaches it can run programs there; next: `ebmark doctor` "
    "says how to start one that does"
)
ELSEWHERE = "earlier times of this study are of a host that is not in the cluster: they may not compare"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Ray and what a study may use of it.

    Attributes:
        ray: the module, connected.
        bag: the files of the study, for the workers.
        need: of a trial.
        nodes: those on which a trial fits.
        timed_on: hosts on which times of the study were taken before.
        notes: what the user should know.
    """

    ray: Any
    bag: Bag
    need: Need
    nodes: tuple[Machine, ...]
    timed_on: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """Ray's id of the head node."""
        return next((node.id for node in self.nodes if node.head), "")


def connect(
    address: str | None = None,
    need: Need = Need(),  # noqa: B008  # frozen
    plugins: Sequence[Ref] = (),
    timed_on: Collection[str] = (),
) -> Cluster:
    """Joins the Ray at ``address``, or starts one for this run alone where it is None.

    Args:
        address: ``auto``, ``HOST:PORT`` or None.
        need: of a trial.
        plugins: what the study uses.
        timed_on: hosts (as in the ``env`` table) on which times of the study were taken before.

    Raises:
        RunError: it cannot be joined, a node lacks something, or no node is large enough.
    """
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    with _same_sigterm():
        if address is None:
            bag = Bag(folder=os.getcwd(), files={}, home=os.environ.get("HOME", ""))
            ray = start()
        else:
            bag = packed(plugins)
            ray = join(address, bag, THREADS)
    try:
        everything = nodes(ray)
        need = fitted(need, everything)
        seats = [node for node in everything if node.slots(need)]
        notes = [idle(need, everything)]
        if address is not None:
            hosts = {row["host"] for row in look_over(ray, seats, bag, plugins).values()}
            notes.append(OPEN if open_to_all(ray.get_runtime_context().gcs_address) else "")
            notes.append(ELSEWHERE if timed_on and not hosts.intersection(timed_on) else "")
    except BaseException:
        ray.shutdown()
        raise
    return Cluster(
        ray=ray,
        bag=bag,
        need=need,
        nodes=tuple(seats),
        timed_on=frozenset(timed_on),
        notes=tuple(filter(None, notes)),
    )


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """Ray sets a handler of its own, which ends the driver without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # None is a handler that was not set from Python; no such can be set here either.
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def lane(machines: Mapping[str, Row], head: str, timed_on: Collection[str]) -> str:
    """The one machine on which the study's times are taken: two of a kind may differ more than methods do.

    It is the host that was used before, where it is there; else one of the commonest kind, and not the head,
    where the driver usually is.

    Args:
        machines: rows of the ``env`` table by Ray's id of the node.
        head: Ray's id of the head node.
        timed_on: hosts that were used before.
    """
    kinds = {node: tuple(row.get(name) for name in KIND) for node, row in machines.items()}
    many = Counter(kinds.values())

    def worth(node: str) -> tuple[bool, int, bool]:
        return machines[node].get("host") in timed_on, many[kinds[node]], node != head

    return max(sorted(machines), key=worth)
