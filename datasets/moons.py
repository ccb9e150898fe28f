"""Two half-circles that interlock, with noise.

Reference: Pedregosa et al., Scikit-learn, JMLR 12, 2011, whose ``make_moons`` has these arcs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import dataset
from ebmark.datasets.curves import NoisyCurve


@dataset("moons")
class Moons(NoisyCurve):
    """(cos θ, sin θ) and (1 - cos θ, ½ - sin θ) with θ uniform on [0, π], and Gaussian noise.

    Attributes:
        sd: standard deviation of the noise.
    """

    sd: float = 0.1

    def _curve(self, t: Tensor) -> Tensor:
        cos, sin = (math.pi * t).cos(), (math.pi * t).sin()
        return torch.stack([torch.stack([cos, sin], -1), torch.stack([1 - cos, 0.5 - sin], -1)])
