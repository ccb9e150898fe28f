"""A method whose end is its rate, and a metric that is smallest at a planted one."""

from typing import ClassVar

from ebmark.api import Method, Metric, Passes, Value, method, metric


@method("walks", year=1)
class Walks(Method):
    """Adam moves the mean of a quadratic network by the rate at every step, whatever the data are."""

    fails: bool = False

    def loss(self, energy, x, state, rng):
        if self.fails:
            raise RuntimeError("planted")
        return 0 * energy(x).mean() - energy.module.mean.sum()

    def passes(self, d):
        return Passes(forward=1, backward=2)


@method("walks_slowly", year=1)
class WalksSlowly(Walks):
    """The same with a rate of its own."""

    players: ClassVar = {"energy": {"lr": 1e-4}}


@metric("off")
class Off(Metric):
    """How far the mean is from ``at``."""

    at: float = 0.0
    wanted: bool = True

    def measure(self, e):
        return Value(value=abs(e.energy.module.mean[0].item() - self.at), trusted=self.wanted)


@metric("more")
class More(Metric):
    better = "higher"

    def measure(self, e):
        return Value(value=0.0)
