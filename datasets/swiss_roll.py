"""A rolled-up strip seen from the side, with noise.

Reference: Pedregosa et al., Scikit-learn, JMLR 12, 2011, whose ``make_swiss_roll`` has this curve in its
first and third coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import dataset
from ebmark.datasets.curves import NoisyCurve


@dataset("swiss_roll")
class SwissRoll(NoisyCurve):
    """The spiral a (cos a, sin a)/5 with a uniform on [3π/2, 9π/2], and Gaussian noise.

    Attributes:
        sd: standard deviation of the noise.
    """

    sd: float = 0.1

    def _curve(self, t: Tensor) -> Tensor:
        a = 1.5 * math.pi * (1 + 2 * t)
        return ((a / 5)[..., None] * torch.stack([a.cos(), a.sin()], -1))[None]
