"""A method whose every step takes a given time."""

import time

from ebmark.api import Method, Passes, method


@method("waits", year=2026)
class Waits(Method):
    seconds: float = 0.05

    def loss(self, energy, x, state, rng):
        time.sleep(self.seconds)
        return energy(x).square().mean(-1)

    def passes(self, d):
        return Passes(forward=1, backward=2)
