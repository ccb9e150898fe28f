"""What a metric is written against."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from ebmark.api.datasets import Dataset
from ebmark.api.energy import Energy
from ebmark.api.plugin import Plugin
from ebmark.api.value import Value
from ebmark.rng import Rng


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a metric may look at: the fitted energy, the target, held-out points and (lazily) model samples.

    Attributes:
        energy: what was fitted, as the method grades it.
        dataset: the target.
        test: held-out points ``(n, d)``, the same for every method.
        log_z: log Z of the energy with its error, computed once per checkpoint and shared.
        samples: model samples ``(m, d)`` drawn by the one sampler and budget that all methods share; None
            where the energy is not finite. Those of the method's own generator where ``source`` says so.
        true_pair: ``true_pair(i, n)`` gives two independent true samples ``(n, d)`` and one of the test set's
            size, the i-th of the pairs behind the noise floor; the same for every method.
        rng: the stream of the evaluation, the same for every method.
        floors: noise floors of this target by metric and sample sizes. They depend on neither model nor seed,
            so a process keeps them from one trial to the next.
        source: where ``samples`` come from.
        own_log_z: the method's own value of log Z, None where it has none.
        of_truth: what is known of the truth at the held-out points; a trial keeps it from one checkpoint to
            the next.
    """

    energy: Energy
    dataset: Dataset
    test: Tensor
    log_z: Callable[[], Value]
    samples: Callable[[], Tensor | None]
    true_pair: Callable[[int, int], tuple[Tensor, Tensor]]
    rng: Rng
    floors: MutableMapping[tuple[object, ...], tuple[float, float]]
    source: Literal["smc", "own_generator"] = "smc"
    own_log_z: Callable[[], Value | None] = lambda: None
    of_truth: MutableMapping[str, Tensor] = field(default_factory=dict)

    def true_log_prob(self) -> Tensor:
        """The target's log-density ``(n,)`` at the held-out points."""
        if "log_prob" not in self.of_truth:
            self.of_truth["log_prob"] = self.dataset.log_prob(self.test)
        return self.of_truth["log_prob"]

    def true_score(self) -> Tensor:
        """The target's score ``(n, d)`` at the held-out points."""
        if "score" not in self.of_truth:
            self.of_truth["score"] = self.dataset.score(self.test)
        return self.of_truth["score"]


class Metric(Plugin):
    """A number about a fitted energy: settings and ``measure``.

    Class attributes:
        unit: of the value, "" for a pure number.
        better: "lower" or "higher".
        needs: what it cannot do without: "density" (a known truth), "log_z", "samples".
        ranks: it tells a better model from a worse one; a diagnostic of a sampler does not.
    """

    kind = "metric"
    unit: ClassVar[str] = ""
    better: ClassVar[str] = "lower"
    needs: ClassVar[tuple[str, ...]] = ()
    ranks: ClassVar[bool] = True

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its standard error, or None where it does not apply; never a default number."""
        raise NotImplementedError(f"{type(self).__name__} has no measure")

    def gaussian_value(self, m: float, k: float, d: int) -> float | None:
        """The exact value for data N(0, I) and the model N(m e₁, I/k) in d dimensions, None where unknown."""
        return None
