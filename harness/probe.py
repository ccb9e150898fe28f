r"""A search for modes of the model that the base does not reach, by ascents of log p̃ from wide starts.

Starts, in whitened coordinates z: normal points at 1, 3, 8 and 20 standard deviations, points that are
isotropic in x at 1 to 32, and any that the caller knows (a replay buffer, a generator's samples). Each climbs
log p̃ by Adam; distinct ends with the largest p̃/q get a Laplace approximation of mass and covariance:

    log m = -E(z*) + ½ d log 2π - ½ log det H,    C = H⁻¹,    H = ∇²E(z*) by differences of gradients

A mode counts as missed if its share m/(m + Z) of the mass exceeds 1 %, while less than a tenth of that share
of the pilot's particles, which started from the base, is inside its ellipsoid. A large mode that the pilot
has reached, although the base is thin there, is added to the base too, but is no reason for doubt.

A mode that is narrower than the rest of the model has, in high dimension, a basin that wide starts miss.

Reference: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ebmark import smc
from ebmark.api import Rng
from ebmark.base import Path
from ebmark.ops import value_and_gradient

SCALES = (1.0, 3.0, 8.0, 20.0)
EACH, EXTRA = 24, 64  # starts of a kind, and at most of the caller's
WIDEST = 32.0  # of the isotropic starts, in root mean square deviations of the data
STEPS = 80
FIRST, LAST = 0.25, 0.01  # the ascent's step in z, geometric; the first is larger for a wide start
CANDIDATES = 8
MERGE = 0.2  # ends closer than this times √d are one
HESSIAN_DIM = 256  # above, a mode is given the data's covariance
DIFFERENCE = 0.01  # in z
FLATTEST, STEEPEST = 0.04, 1e6  # curvatures of an acceptable mode: wider than 5 deviations is none
SHARE = 0.01  # of the mass, from which a mode that nobody sees matters
# A mode with this share of the mass helps the base if the base's density there is too low by so many nats,
# and so many per dimension: at the peak of a mode that it covers the base is below the model too.
THIN_SHARE, THIN, THIN_PER_DIM = 0.05, 5.0, 0.25


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Gaussians N(means, trils trils') at m modes of the model.

    Attributes:
        means: ``(m, d)``, as z.
        trils: Cholesky factors of their covariances ``(m, d, d)``.
        log_mass: log of the integral of p̃ over each ``(m,)``.
        missed: whether the pilot has missed it ``(m,)``.
    """

    means: Tensor
    trils: Tensor
    log_mass: Tensor
    missed: Tensor

    def __getitem__(self, which: Tensor) -> Modes:
        return Modes(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    def inside(self, z: Tensor) -> Tensor:
        """Whether each point of ``z (n, d)`` is within four deviations of χ² of each mode ``(m, n)``."""
        d = z.shape[-1]
        y: Tensor = torch.linalg.solve_triangular(self.trils, (z - self.means[:, None]).mT, upper=False)
        return y.square().sum(-2) < d + 4 * math.sqrt(2 * d)


def gradients(d: int) -> float:
    """The most that ``probe`` costs."""
    starts = (len(SCALES) + 1) * EACH + EXTRA
    return (STEPS + 1) * starts + (2 * d * CANDIDATES if d <= HESSIAN_DIM else 0)


def probe(path: Path, pilot: smc.Pilot, starts: Tensor | None, rng: Rng) -> Modes:
    """The modes that the ``pilot`` missed, perhaps none. ``starts (n, d)`` are points x of the caller's."""
    with torch.no_grad():
        z = _ascend(path, _starts(path, starts, rng))
        modes = _laplace(path, z[_distinct(path, z)])
        seen = modes.inside(pilot.z).double().mean(-1)
        share = torch.sigmoid(modes.log_mass - pilot.log_z)
        missed = (share > SHARE) & (seen < share / 10)
        lacking = path.log_ratio(modes.means) - pilot.log_z
        thin = (share > THIN_SHARE) & (lacking > THIN + THIN_PER_DIM * modes.means.shape[-1])
        return replace(modes, missed=missed)[missed | thin]


def _starts(path: Path, own: Tensor | None, rng: Rng) -> Tensor:
    """All starts ``(n, d)`` as z."""
    base = path.base
    d = len(base.centre)
    white = torch.cat([scale * rng.normal((EACH, d)) for scale in SCALES])
    rms = (base.scale.square().sum() / d).sqrt() * WIDEST ** rng.uniform((EACH, 1))
    z = torch.cat([white, base.to_white(base.centre + rms * rng.normal((EACH, d)))])
    if own is None or not len(own):
        return z
    rows = rng.permutation(len(own))[:EXTRA]
    return torch.cat([z, base.to_white(own[rows.to(own.device)].to(z))])


def _ascend(path: Path, z: Tensor) -> Tensor:
    """Where Adam leads from ``z (n, d)``; a point whose energy is not finite stays where it is."""
    energy = path.at(1.0)
    first = (z.square().mean(-1, keepdim=True).sqrt() / 5).clamp(min=FIRST)
    m, v = torch.zeros_like(z), torch.zeros_like(z)
    for t in range(STEPS):
        g = value_and_gradient(energy, z)[1].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g.square()
        step = first * (LAST / first) ** (t / (STEPS - 1))
        z = z - step * (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.95 ** (t + 1))).sqrt() + 1e-12)
    return z


def _distinct(path: Path, z: Tensor) -> Tensor:
    """Indices of at most 8 distinct ends, those that the base gives the least density for their energy."""
    E, log_q = path.at(1.0)(z).double(), path.base.log_prob(z).double()
    order = (-E - log_q).nan_to_num(nan=-math.inf).argsort(descending=True)
    order = order[torch.isfinite(E)[order]]
    near = torch.cdist(z, z) < MERGE * math.sqrt(z.shape[-1])
    kept: list[int] = []
    for i in order.tolist():
        if len(kept) < CANDIDATES and not near[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long, device=z.device)


def _laplace(path: Path, z: Tensor) -> Modes:
    """The Laplace approximations at the ends ``z (m, d)``, after one step of Newton's where it descends.

    In many dimensions an ascent of steps of like size ends some nats below the peak. The step uses the same
    differences of gradients as the curvature.
    """
    energy = path.at(1.0)
    n, d = z.shape
    E = energy(z).double()
    unit = torch.eye(d, dtype=z.dtype, device=z.device)
    H, slope = unit.double().expand(n, d, d), torch.zeros_like(z, dtype=torch.float64)
    if d <= HESSIAN_DIM and n:
        shifts = DIFFERENCE * torch.cat([unit, -unit])
        g = value_and_gradient(energy, z[:, None] + shifts)[1].double()
        g = g.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        H, slope = (g[:, :d] - g[:, d:]) / (2 * DIFFERENCE), g.mean(1)
    curvature, axes = torch.linalg.eigh((H + H.mT) / 2)
    curvature = torch.where(curvature < FLATTEST, 1.0, curvature).clamp(max=STEEPEST)
    C = axes @ torch.diag_embed(1 / curvature) @ axes.mT
    root = torch.linalg.cholesky(C)
    peak = z - (C @ slope[..., None])[..., 0].to(z)
    E_peak = energy(peak).double()
    lower = E_peak < E
    z, E = torch.where(lower[:, None], peak, z), torch.where(lower, E_peak, E)
    log_mass = path.log_det - E + 0.5 * (d * math.log(2 * math.pi) - curvature.log().sum(-1))
    missed = torch.zeros(n, dtype=torch.bool, device=z.device)
    return Modes(means=z, trils=root.to(z), log_mass=log_mass, missed=missed)
