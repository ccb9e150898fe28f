"""How a trial begins, and at which points of its budget it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ebmark.api import Dataset, Method, Network, Rng
from ebmark.evaluate import Points
from ebmark.stream import Batches
from ebmark.train import Training
from ebmark.trial import Trial


def start(trial: Trial, method: Method, dataset: Dataset, network: Network, data: Points) -> Training:
    """The training before its first step, the same each time."""
    return begin(trial, method, dataset, built(trial, method, dataset, network, data), data)


def built(trial: Trial, method: Method, dataset: Dataset, network: Network, data: Points) -> nn.Module:
    """The freshly initialised network of a trial."""
    device = data.train.device
    key = (trial.dataset.name, trial.dataset.content, trial.seed)
    weights = Rng.of("weights", trial.network.name, trial.network.args, *key, device=device)
    more: dict[str, Any] = {"dataset": dataset} if network.of_target else {}
    if (heads := method.heads(dataset.dim)) > 1:
        more["heads"] = heads
    return network.build(data.train, weights, **more)


def begin(trial: Trial, method: Method, dataset: Dataset, module: nn.Module, data: Points) -> Training:
    """The training of a module before its first step; numbers are drawn in the type of the data."""
    key = (trial.dataset.name, trial.dataset.content, trial.seed)
    like: dict[str, Any] = {"device": data.train.device, "dtype": data.train.dtype}
    stream = Batches(dataset, trial.budget.batch, trial.n_train, data.train, Rng.of("data", *key, **like))
    rng = Rng.of("method", trial.method.name, trial.method.args, *key, **like)
    return Training(method, module, data.train, stream, rng, trial.budget, trial.optimiser)


def stops(trial: Trial, progress: Callable[[], float], after: float = 0.0) -> Iterator[tuple[float, bool]]:
    """Shares of the budget at which to evaluate, log-spaced from 1/128 to exactly 1, in training's order.

    With each, whether costly metrics are due: at every n/costly-th of n checkpoints; one that a long step has
    passed over is made up for at the next.

    Args:
        trial: says how many, and how many of them are costly.
        progress: the share that is used up.
        after: the share of the last of them that an earlier attempt has made.
    """
    n, wanted = trial.checkpoints, 0
    for i in range(n):
        share = 128 ** (i / (n - 1) - 1) if i < n - 1 else 1.0
        wanted += (i + 1) * trial.costly // n - i * trial.costly // n
        if share <= after:
            wanted = 0
        elif progress() < share:
            yield share, wanted > 0
            wanted = 0
