"""Two spirals around each other, with noise.

Reference: Grathwohl et al., FFJORD, ICLR 2019, https://arxiv.org/abs/1810.01367, for the spirals of one and a
half turns; their additional uniform noise along the axes is left out, so that the density is known.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import dataset
from ebmark.datasets.curves import NoisyCurve


@dataset("spirals")
class Spirals(NoisyCurve):
    """±a (-cos a, sin a)/3 with a = 3π √u, u uniform on [0, 1], and Gaussian noise.

    Attributes:
        sd: standard deviation of the noise.
    """

    power = 1
    sd: float = 0.1

    def _curve(self, t: Tensor) -> Tensor:
        a = 3 * math.pi * t
        arm = (a / 3)[..., None] * torch.stack([-a.cos(), a.sin()], -1)
        return torch.stack([arm, -arm])
