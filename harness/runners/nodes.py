"""Which machines of the cluster are gone, or new: Ray reports what ran on lost ones late or never."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from ebmark.errors import RunError
from ebmark.files import one_line

LOST = "Ray has ended on the driver's machine; what has finished is kept, and the same command runs the rest"
DUMB = (
    "the head of the Ray cluster does not answer any more; what has finished is kept, and the same command "
    "runs the rest"
)
MUTE = (
    "Ray cannot say which machines there are; what has finished is kept, and the same command runs the rest"
)
EVERY = 1.0  # seconds between two looks
PROMPT = 0.1  # seconds that a look may wait; an answer takes a few milliseconds
SILENCE = 40.0  # seconds in which the head must answer; after sixty Ray ends this process without asking


class NodeWatch:
    """Looks at the cluster's machines now and then.

    Args:
        ray: Ray's module, connected.

    Attributes:
        silent: the head does not answer; whatever else asks it waits, too.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.silent = False
        self._answer: queue.SimpleQueue[list[dict[str, Any]] | Exception] | None = None
        self._since = 0.0
        self._here = ray.get_runtime_context().get_node_id()
        self._next = 0.0
        self._alive: set[str] = set()
        self._new = False

    def lost(self) -> set[str]:
        """Ids of the machines that were there and are no longer; empty when it is too early to look again.

        Raises:
            RunError: Ray no longer runs on the driver's own machine, so that no answer reaches it; or its
                head is silent, or fails to answer.
        """
        if self._answer is None and time.monotonic() < self._next:
            return set()
        if (machines := self._asked()) is None:
            return set()
        alive = {node["NodeID"] for node in machines if node["Alive"]}
        self._new |= bool(self._alive and alive - self._alive)
        gone, self._alive = self._alive - alive, alive
        self._next = time.monotonic() + EVERY
        if self._here in gone:
            raise RunError(LOST)
        return gone

    def _asked(self) -> list[dict[str, Any]] | None:
        """What Ray says of its machines, None as long as it says nothing; trials go on meanwhile."""
        if self._answer is None:
            self._answer, self._since = queue.SimpleQueue(), time.monotonic()
            threading.Thread(target=self._ask, args=(self._answer,), daemon=True).start()
        try:
            found = self._answer.get(timeout=PROMPT)
        except queue.Empty:
            self.silent = time.monotonic() > self._since + SILENCE
            if self.silent:
                raise RunError(DUMB) from None
            return None
        self._answer = None
        if isinstance(found, Exception):
            raise RunError(f"{MUTE}: {one_line(found)}") from found
        return found

    def _ask(self, answer: queue.SimpleQueue[list[dict[str, Any]] | Exception]) -> None:
        try:
            answer.put(self._ray.nodes())
        except Exception as error:  # noqa: BLE001  # nobody reads it where the run has left the cluster meanwhile
            answer.put(error)

    def joined(self) -> bool:
        """Whether a machine has come since this was asked last, as far as ``lost`` has looked."""
        new, self._new = self._new, False
        return new
