r"""Whether a sampler's one step size fits the whole model: a check at the data.

A leapfrog of length ε is stable on a quadratic of curvature λ while ε²λ < 4. Where λ is larger every move is
refused, so that no particle enters and none leaves: log Z lacks what lies there, and the runs agree on it.
λ is found by three power iterations on H = ∇²E by differences of gradients, a lower bound.

Reference: Leimkuhler and Reich, Simulating Hamiltonian dynamics, Cambridge University Press, 2004.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Rng
from ebmark.base import Path
from ebmark.ops import value_and_gradient

ROWS, ITERATIONS = 512, 3
DIFFERENCE = 0.01  # in z
MOST = 0.05  # share of the data: on a funnel it is 0.1 to 0.7, where one step fits 0.002 or less


def gradients() -> float:
    """The most that ``too_stiff`` costs."""
    return ROWS * (1 + ITERATIONS)


def too_stiff(path: Path, data: Tensor, h: float, rng: Rng) -> float:
    """The share of ``data (n, d)`` at which the model is too stiff for the shortest step of the last moves.

    Args:
        path: to the model.
        data: points that should be of the model; at most 512 are looked at.
        h: step size of the last temperature: moves there have ε² of h to 2h.
        rng: picks the rows.
    """
    energy = path.at(1.0)
    with torch.no_grad():
        rows = rng.permutation(len(data))[:ROWS]
        z = path.base.to_white(data[rows.to(data.device)]).to(path.base.means)
        g = value_and_gradient(energy, z)[1]
        v = rng.normal(z.shape)
        for _ in range(ITERATIONS):
            v = v / v.norm(dim=-1, keepdim=True)
            v = (value_and_gradient(energy, z + DIFFERENCE * v)[1] - g) / DIFFERENCE
        # Where the energy is not finite this is false: that is another doubt.
        share: float = (h * v.norm(dim=-1) > 4).double().mean().item()
    return share
