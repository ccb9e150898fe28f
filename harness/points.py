"""The points of a trial: what a method is fitted to, and what it is graded on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Dataset, RealDataset, Rng, Value
from ebmark.ops import fit_gaussian, gaussian_log_prob
from ebmark.trial import Trial

TEST_POINTS = 2000


@dataclass(frozen=True, kw_only=True)
class Points:
    """The points of a trial: ``train (n, d)`` to fit on, ``test (m, d)`` held out."""

    train: Tensor
    test: Tensor


def points(trial: Trial, dataset: Dataset, device: torch.device) -> Points:
    """Training and test points by data set and seed, the same for every method.

    For an endless stream ``train`` is a fixed draw of max(10,000, 20 d) points, to which noises are fitted.
    """
    if isinstance(dataset, RealDataset):
        splits = dataset.splits()
        # A rate that is chosen on the test rows would be graded on what it was chosen for.
        held_out = splits.val if trial.lane == "tune" else splits.test
        return Points(train=splits.train.to(device), test=held_out.to(device))
    key = (trial.dataset.name, trial.dataset.content, trial.seed)
    n = trial.n_train or max(10_000, 20 * dataset.dim)
    return Points(
        train=dataset.sample(n, Rng.of("train", *key, device=device)),
        test=dataset.sample(TEST_POINTS, Rng.of("test", *key, device=device)),
    )


def gaussian_baseline(data: Points) -> Value:
    """Mean negative log-likelihood in nats of the test rows under the Gaussian of the training rows."""
    mean, tril = fit_gaussian(data.train.double())
    nll = -gaussian_log_prob(data.test.double(), mean, tril)
    return Value(value=nll.mean().item(), se=nll.std().item() / math.sqrt(len(nll)))
