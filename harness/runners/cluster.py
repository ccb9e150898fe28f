"""The Ray that trials run on, ours or one that was joined: its nodes, their machines, and its tasks."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebmark.record import Row
from ebmark.runners.joining import join, look_over, open_to_all, packed
from ebmark.runners.node import Bag
from ebmark.runners.placement import Need, Node, fitted, idle, nodes, slots
from ebmark.runners.private import start
from ebmark.trial import Ref

# One thread per trial: two gain nothing at benchmark sizes, and side by side they slow each other 5 to
# 19-fold.
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OPEN = (
    "the cluster asks for no token: whoever reaches it can run programs as its owner; next: start it with "
    "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every node (`ebmark doctor` explains)"
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Ray and what a study may use of it.

    Attributes:
        ray: the module, connected.
        bag: the files of the study, for the workers.
        need: of a trial.
        nodes: those on which a trial fits.
        timing: the node on which everything runs whose wall-clock counts.
        notes: what the user should know.
    """

    ray: Any
    bag: Bag
    need: Need
    nodes: tuple[Node, ...]
    timing: Node
    notes: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """How many trials run side by side."""
        return slots(self.need, self.nodes)

    def options(self, *, exclusive: bool) -> dict[str, Any]:
        """Options of a trial's task: on any node, or alone on the one where times are taken."""
        return self.timing.alone(self.need) if exclusive else self.need.options()


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
        EbmarkError: it cannot be joined, a node lacks something, or no node is large enough.
    """
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    if address is None:
        bag = Bag(folder=os.getcwd(), files={}, home=os.environ.get("HOME", ""))
        ray = start()
    else:
        bag = packed(plugins)
        ray = join(address, bag, THREADS)
    everything = nodes(ray)
    need = fitted(need, everything)
    seats = [node for node in everything if node.slots(need)]
    machines = {} if address is None else look_over(ray, seats, bag, plugins)
    timing, doubt = lane(seats, machines, timed_on)
    unsafe = OPEN if address is not None and open_to_all(ray.get_runtime_context().gcs_address) else ""
    return Cluster(
        ray=ray,
        bag=bag,
        need=need,
        nodes=tuple(seats),
        timing=timing,
        notes=tuple(note for note in (unsafe, idle(need, everything), doubt) if note),
    )


def lane(seats: Sequence[Node], machines: Mapping[str, Row], timed_on: Collection[str]) -> tuple[Node, str]:
    """The one node on which the study's times are taken, and what to tell the user of the choice.

    Two machines of one kind differ by more than many methods do. It is the host that was used before, where
    it is there; else one of the commonest kind, and not the head, where the driver usually is.
    """
    kinds = [_kind(machines.get(node.id, {})) for node in seats]

    def worth(i: int) -> tuple[bool, int, bool]:
        host = machines.get(seats[i].id, {}).get("host")
        return host in timed_on, kinds.count(kinds[i]), not seats[i].head

    best = max(range(len(seats)), key=worth)
    other = timed_on and machines and not worth(best)[0]
    doubt = "earlier times of this study are of a host that is not in the cluster: they may not compare"
    return seats[best], doubt if other else ""


def _kind(machine: Row) -> tuple[Any, ...]:
    """On machines of one kind seconds are about the same."""
    return tuple(machine.get(name) for name in ("cpu", "cores", "gpu"))
