"""Classifier two-sample test: how well a classifier tells model samples from held-out points.

The value is the area under the ROC curve on points that the classifier was not trained on, by
cross-validation: the probability that it ranks a model sample above a true one. 0.5 is chance.

The classifier is scikit-learn's multilayer perceptron, with one seed, one architecture and inputs scaled by
the true sample for all methods. It is as strong as it is: a value at the floor says that this classifier,
with so many points, found nothing.

References: Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017; DeLong et al., Comparing
the areas under two or more correlated ROC curves, Biometrics 44(3), 1988, for the standard error.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import BaseCrossValidator, PredefinedSplit, cross_val_predict
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.errors import SpecError
from ebmark.floors import against_truth

Array = NDArray[np.float64]


@metric("c2st")
class ClassifierTwoSampleTest(Metric):
    """Area under the ROC curve out of the training folds, from 0.5 (chance) to 1 (told apart).

    Attributes:
        folds: of the cross-validation; they are blocks of rows, so that neighbours among the sampler's
            particles are not torn apart.
        hidden: the widths of the hidden layers.
        epochs: passes of Adam over the training folds.
    """

    needs = ("samples",)
    folds: int = 2
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 30

    def __post_init__(self) -> None:
        if type(self.folds) is not int or self.folds < 2:
            raise SpecError(f"c2st.folds: {self.folds!r} given; allowed: an integer of at least 2")
        if not self.hidden or any(type(width) is not int or width < 1 for width in self.hidden):
            raise SpecError(f"c2st.hidden: {list(self.hidden)} given; allowed: integers of at least 1")
        if type(self.epochs) is not int or self.epochs < 1:
            raise SpecError(f"c2st.epochs: {self.epochs!r} given; allowed: an integer of at least 1")

    def measure(self, at: Evaluation) -> Value | None:
        """The value with DeLong's standard error, which takes the classifiers as given, and its floor.

        They are not given: folds train each other's. Where there is little to find, the floor's spread is the
        better guide; with two folds it is about √2 times the error.
        """
        samples = at.samples()
        if any(x is not None and len(x) < 2 * self.folds for x in (samples, at.test)):
            return None
        fitted = lru_cache(maxsize=1)(self._placements)  # value and error share one fit
        return against_truth(at, self, lambda a, b: _area(*fitted(a, b)), lambda a, b: _error(*fitted(a, b)))

    def _placements(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """For each row of ``a (n, d)`` the share of b's below it; for each of ``b (m, d)`` of a's above.

        Only scores of the same fold are compared: each fold has its own classifier.
        """
        folds = [np.arange(len(x)) * self.folds // len(x) for x in (b, a)]
        scores = held_out(a, b, self.classifier(), PredefinedSplit(np.concatenate(folds)))
        q, p = torch.from_numpy(scores[: len(b)]), torch.from_numpy(scores[len(b) :])
        of_b, of_a = map(torch.from_numpy, folds)
        pairs = [(p[of_a == fold], q[of_b == fold]) for fold in range(self.folds)]
        below, above = zip(*((_behind(p, q), 1 - _behind(q, p)) for p, q in pairs), strict=True)
        return torch.cat(below), torch.cat(above)

    def classifier(self) -> MLPClassifier:
        """A fresh classifier, always with the same seed."""
        return MLPClassifier(
            hidden_layer_sizes=self.hidden,
            alpha=1e-3,
            batch_size=100,
            max_iter=self.epochs,
            n_iter_no_change=self.epochs,
            random_state=0,
        )


def held_out(a: Tensor, b: Tensor, classifier: MLPClassifier, split: BaseCrossValidator) -> Array:
    """How probably each row of ``b (m, d)``, then of ``a (n, d)``, is of a, to a classifier of other rows."""
    centre, scale = b.mean(0), b.std(0)
    x = ((torch.cat([b, a]) - centre) / scale.where(scale > 0, 1)).double().cpu().numpy()
    labels = np.repeat([0, 1], [len(b), len(a)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are meant as they are
        found = cross_val_predict(classifier, x, labels, cv=split, method="predict_proba")
    return np.asarray(found[:, 1], dtype=np.float64)


def _behind(p: Tensor, q: Tensor) -> Tensor:
    """For each of ``p (n,)`` the share of ``q (m,)`` below it, ties counted half."""
    q = q.sort().values
    return (torch.searchsorted(q, p) + torch.searchsorted(q, p, right=True)).double() / (2 * len(q))


def _area(a: Tensor, b: Tensor) -> float:
    return a.mean().item()


def _error(a: Tensor, b: Tensor) -> float:
    return math.sqrt(a.var().item() / len(a) + b.var().item() / len(b))
