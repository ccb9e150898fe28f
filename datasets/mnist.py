"""MNIST: handwritten digits of 28 x 28 pixels.

Reference: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition,
Proceedings of the IEEE 86(11), 1998, https://doi.org/10.1109/5.726791
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import dataset
from ebmark.datasets.published import SEED, Parts, Published
from ebmark.errors import SpecError

LEVELS = 256
ALPHA = 1e-6
HELD_OUT = 1 / 6  # of the 60,000 training images, the last ones
MAGIC = 2051  # of a file of images


@dataset("mnist")
class Mnist(Published):
    """70,000 digits of 784 pixels: x = logit(α + (1 - 2α) y), y = (level + u)/256, α = 1e-6.

    As published (``datasets.published``): u uniform on [0, 1) is drawn once and for all, and of the 60,000
    training images the last 10,000 are for validation.

    Attributes:
        folder: that holds ``mnist/train-images-idx3-ubyte.gz``; by default the one that EBMARK_DATA names.
        sha256: of the two raw files end to end, filled where the study is planned.
    """

    dim = 784
    files = ("mnist/train-images-idx3-ubyte.gz", "mnist/t10k-images-idx3-ubyte.gz")
    source = "both from https://storage.googleapis.com/cvdf-datasets/mnist/ into a folder mnist/"
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        images, test = (_images(path) for path in paths)
        train, val = np.split(images, [len(images) - round(HELD_OUT * len(images))])
        rng = np.random.RandomState(SEED)
        train, val, test = (_to_logits(part, rng) for part in (train, val, test))
        return train, val, test

    def log_det(self, x: Tensor) -> Tensor:
        """What the transform adds in nats at ``x (..., 784)``: log p(y) = log p(x) + log |det dx/dy|.

        In units of one level, where bits per dimension are counted, the log-density is 784 log 256 lower.
        """
        return (math.log(1 - 2 * ALPHA) + softplus(x) + softplus(-x)).sum(-1)


def _images(path: Path) -> np.ndarray:
    """The pixels' levels ``(n, 784)`` of a file in the IDX format."""
    with gzip.open(path) as stream:
        raw = stream.read()
    magic, n, height, width = np.frombuffer(raw[:16].ljust(16, b"\0"), ">i4")
    if magic != MAGIC or len(raw) != 16 + n * height * width:
        raise SpecError(f"mnist.folder: {path}: not a whole file of images in the IDX format")
    return np.frombuffer(raw[16:], np.uint8).reshape(n, height * width)


def _to_logits(levels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """In float32, a few thousand images at a time: the noise of all in float64 would be 300 MB."""
    x = np.empty(levels.shape, np.float32)
    for begin in range(0, len(levels), 5000):
        part = levels[begin : begin + 5000]
        y = ALPHA + (1 - 2 * ALPHA) * (part + rng.rand(*part.shape)) / LEVELS
        x[begin : begin + 5000] = np.log(y) - np.log1p(-y)
    return x
