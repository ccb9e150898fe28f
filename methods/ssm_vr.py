r"""Sliced score matching with reduced variance (Song, Garg, Shi and Ermon, 2019).

    J(θ) = E [ v'∇s_θ(x) v + ½ |s_θ(x)|² ],    E vv' = I

Only the trace of score matching is projected: E (v's)² = |s|² needs no draw. Minimised by the density of the
data, without Z.

Reference: Sliced score matching: a scalable approach to density and score estimation, UAI 2019,
https://arxiv.org/abs/1905.07088
"""

from __future__ import annotations

from torch import Tensor

from ebmark.api import method
from ebmark.methods.ssm import SlicedScoreMatching


@method("ssm_vr", year=2019)
class VarianceReducedSlicedScoreMatching(SlicedScoreMatching):
    """Sliced score matching, the form with |s|² in full.

    Attributes:
        M: projections per point.
    """

    def square(self, s: Tensor, v: Tensor) -> Tensor:
        """|s|² ``(..., n)``, the mean of (v's)²."""
        return s.square().sum(-1)
