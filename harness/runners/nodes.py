"""Which machines of the cluster are gone, or new: Ray reports what ran on lost ones late or never."""

from __future__ import annotations

import time
from typing import Any

from ebmark.errors import RunError

LOST = "Ray has ended on the driver's machine; what has finished is kept, and the same command runs the rest"
EVERY = 1.0  # seconds between two looks


class NodeWatch:
    """Looks at the cluster's machines now and then.

    Args:
        ray: Ray's module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._here = ray.get_runtime_context().get_node_id()
        self._next = 0.0
        self._alive: set[str] = set()
        self._new = False

    def lost(self) -> set[str]:
        """Ids of the machines that were there and are no longer; empty when it is too early to look again.

        Raises:
            RunError: Ray no longer runs on the driver's own machine, so that no answer reaches it.
        """
        if time.monotonic() < self._next:
            return set()
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        self._new |= bool(self._alive and alive - self._alive)
        gone, self._alive = self._alive - alive, alive
        self._next = time.monotonic() + EVERY
        if self._here in gone:
            raise RunError(LOST)
        return gone

    def joined(self) -> bool:
        """Whether a machine has come since this was asked last, as far as ``lost`` has looked."""
        new, self._new = self._new, False
        return new
