"""Where trials fit: what one needs, what the nodes have, and how many run side by side.

A study's trials all run on one kind of device: on GPUs where the study asks for them and the cluster has any,
else on CPUs. Random numbers and rounding differ between the two, so that runs on both would not be pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ebmark.errors import RunError

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a trial takes of its node, besides one CPU.

    Attributes:
        gpus: GPUs; a fraction shares one with trials of the same kind.
        memory: bytes, None for what there is.
    """

    gpus: float = 0.0
    memory: int | None = None

    @property
    def device(self) -> str:
        """The device as torch names it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def whole(self) -> Need:
        """Of a trial that is timed: it shares its GPU with nothing."""
        return replace(self, gpus=math.ceil(self.gpus))

    def options(self) -> dict[str, Any]:
        """What Ray is asked for."""
        return {"num_cpus": 1, "num_gpus": self.gpus, "memory": self.memory}

    def __str__(self) -> str:
        parts = [f"gpus = {self.gpus:g}"] * bool(self.gpus)
        parts += [f"memory = {(self.memory or 0) / GIB:.3g} GiB"] * bool(self.memory)
        return ", ".join(parts) or "one CPU"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A node of the cluster and what Ray may give away of it.

    Attributes:
        id: Ray's.
        address: its own.
        cpus: how many.
        gpus: how many.
        memory: bytes.
        head: the cluster's control service runs there.
    """

    id: str
    address: str
    cpus: float
    gpus: float
    memory: float
    head: bool = False

    def slots(self, need: Need) -> int:
        """How many such trials fit side by side."""
        room = int(self.cpus)
        if need.gpus:
            # A trial lies on one GPU, or has several whole ones.
            by_gpu = self.gpus / need.gpus if need.gpus >= 1 else int(self.gpus) * int(1 / need.gpus + 1e-9)
            room = min(room, int(by_gpu))
        return min(room, int(self.memory / need.memory)) if need.memory else room


def nodes(ray: Any) -> list[Machine]:
    """The living nodes, in the order of their addresses.

    Args:
        ray: the module, connected to a cluster.
    """
    found = []
    for node in ray.nodes():
        has = node["Resources"]
        if node["Alive"]:
            found.append(
                Machine(
                    id=node["NodeID"],
                    address=node["NodeManagerAddress"],
                    cpus=has.get("CPU", 0.0),
                    gpus=has.get("GPU", 0.0),
                    memory=has.get("memory", 0.0),
                    head="node:__internal_head__" in has,
                )
            )
    return sorted(found, key=lambda node: (node.address, node.id))


def fitted(need: Need, cluster: Sequence[Machine]) -> Need:
    """The need as this cluster can meet it: without GPUs where it has none.

    Raises:
        RunError: no node is large enough. Ray would wait for one for ever and say nothing.
    """
    if not any(node.gpus for node in cluster):
        need = replace(need, gpus=0.0)
    if slots(need, cluster):
        return need
    cpus, gpus, memory = (
        max(values) for values in zip(*((n.cpus, n.gpus, n.memory / GIB) for n in cluster), strict=True)
    )
    raise RunError(
        f"resources: {need} given for a trial; allowed: what one of {len(cluster)} nodes has, at most "
        f"{cpus:g} CPUs, {gpus:g} GPUs, {memory:.3g} GiB; next: ask for less in [resources]"
    )


def slots(need: Need, cluster: Sequence[Machine]) -> int:
    """How many such trials fit side by side on all nodes."""
    return sum(node.slots(need) for node in cluster)


def idle(need: Need, cluster: Sequence[Machine]) -> str:
    """What to tell the user of nodes with CPUs that get no trial of the study; "" where there are none."""
    left = [node.address for node in cluster if node.cpus >= 1 and not node.slots(need)]
    if not left:
        return ""
    why = "have no GPU or too few" if need.gpus else "have too little memory"
    other = "; `gpus = 0` in [resources] trains everything on CPUs, on every node" if need.gpus else ""
    return f"{len(left)} of {len(cluster)} nodes stay idle, for they {why} ({', '.join(left)}){other}"
