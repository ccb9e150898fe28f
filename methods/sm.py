r"""Score matching (Hyvärinen, 2005), with the exact trace of the Hessian.

    J(θ) = E [ tr ∇s_θ(x) + ½ |s_θ(x)|² ],    s_θ = -∇E_θ

The Fisher divergence ½ E|s_θ - s_d|² up to a constant: minimised by the density of the data, without Z.

Reference: Estimation of non-normalized statistical models by score matching, JMLR 6, 2005,
https://jmlr.org/papers/v6/hyvarinen05a.html
"""

from __future__ import annotations

from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, method
from ebmark.ops import score_and_trace


@method("sm", year=2005)
class ScoreMatching(Method):
    """Exact score matching: the trace along every coordinate."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        s, trace = score_and_trace(energy, x)
        return (trace + 0.5 * s.square().sum(-1)).mean(-1)

    def passes(self, d: int) -> Passes:
        """6 (d + 1) F."""
        return Passes(forward=1, input_gradient=1, second_order=2 * d, backward=4 + 4 * d)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Second derivatives must exist and the density must have a score."""
        return needs_smoothness(dataset, network)


def needs_smoothness(dataset: Dataset, network: Network) -> str | None:
    """Why a method with second derivatives cannot be used there, or None."""
    if not network.smooth:
        return f"the network {network.name} has no second derivatives; use a smooth activation"
    if not dataset.smooth:
        return f"the density of {dataset.name} has no score"
    return None
