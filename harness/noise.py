r"""Noise that data are contrasted with: fitted once, then a few tensors in ``State.buffers``.

    q = (1 - λ) Σ_j w_j N(μ_j, L_j L_j') + λ U(box)

===========  ===========================================================================================
gaussian     one component with the data's mean and covariance; λ = 0
independent  one component with the data's mean and variances, and no correlations; λ = 0
mixture      up to 8 components fitted by expectation maximisation; λ = 0
uniform      λ = 0.99 on a box around the data; a Gaussian with twice the data's standard deviations has
             the rest, because a later batch may bring points outside the box, where log q must be finite
===========  ===========================================================================================

A scale multiplies the components' standard deviations and the sides of the box.

Reference: Hesterberg, Weighted average importance sampling and defensive mixture distributions,
Technometrics 37(2), 1995 (the 1 % of a wide density).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from ebmark.api import Constants, Energy, Method, Rng, State, Value, learned, points
from ebmark.errors import SpecError
from ebmark.ops import fit_gaussian

KINDS = ("gaussian", "independent", "uniform", "mixture")
ROUND = ("gaussian", "independent")  # one component, without a box
BOX = 0.99  # λ of the kind uniform
MARGIN = 0.05  # how far the box goes beyond the fitted data on each side, as a share of their range
COMPONENTS = 8  # of the kind mixture, at most
FULL_DIM = 20  # largest d at which its components have full covariances
ROWS = 2000  # data points that it is fitted to (or 20 d, if that is more)
START = 1024  # noise points behind the first estimate of log Z


def fit(kind: str, data: Tensor, rng: Rng, scale: float = 1.0) -> dict[str, Tensor]:
    """The noise of a kind for ``data (n, d)``, as buffers."""
    if kind == "mixture":
        return _components(*_fit_mixture(data, rng, scale))
    mean, tril = fit_gaussian(data, scale)
    if kind == "independent":
        tril = uncorrelated(tril)
    weight, mean, tril = mean.new_ones(1), mean[None], tril[None]
    if kind in ROUND:
        return _components(weight, mean, tril)
    low, high = data.aminmax(dim=0)
    # A constant column would give a box without volume: its half side is at least a standard deviation.
    half = torch.maximum(scale * (0.5 + MARGIN) * (high - low), tril[0].square().sum(-1).sqrt())
    box = {"noise_low": (low + high) / 2 - half, "noise_high": (low + high) / 2 + half}
    return {**_components(weight, mean, 2 * tril), **box}


def uncorrelated(tril: Tensor) -> Tensor:
    """The Cholesky factor ``(d, d)`` of the Gaussian with the variances of that of ``tril``, and no more."""
    return tril.square().sum(-1).sqrt().diag_embed()


def sample(energy: Energy, shape: tuple[int, ...], q: Mapping[str, Tensor], rng: Rng) -> Tensor:
    """Points ``(*shape, d)`` from the noise in the buffers q, counted on the energy's meter."""
    means, trils = q["noise_means"], q["noise_trils"]
    k, d = means.shape[-2:]
    ξ = rng.normal((*shape, d))
    if k == 1:
        y = means + ξ @ trils.squeeze(-3).mT
    else:
        at = torch.searchsorted(q["noise_weights"].cumsum(-1), rng.uniform(shape), right=True).clamp(
            max=k - 1
        )
        every = means.unsqueeze(-2) + ξ.unsqueeze(-3) @ trils.mT
        y = every.gather(-3, at[..., None, :, None].expand(*shape[:-1], 1, shape[-1], d)).squeeze(-3)
    if "noise_low" in q:
        low, high = q["noise_low"].unsqueeze(-2), q["noise_high"].unsqueeze(-2)
        in_box = rng.uniform(shape) < BOX
        y = torch.where(in_box[..., None], low + (high - low) * rng.uniform((*shape, d)), y)
    energy.meter.noise_samples += points(y)
    return y


def log_prob(x: Tensor, q: Mapping[str, Tensor]) -> Tensor:
    """Log q ``(..., n)`` of ``x (..., n, d)`` under the noise in the buffers q, in nats; always finite."""
    gap = x.unsqueeze(-3) - q["noise_means"].unsqueeze(-2)
    z = gap @ q["noise_inverses"].mT  # a matrix product: a triangular solve grows faster with d
    log_q = (q["noise_offsets"].unsqueeze(-1) - 0.5 * z.square().sum(-1)).logsumexp(-2)
    if "noise_low" in q:
        low, high = q["noise_low"].unsqueeze(-2), q["noise_high"].unsqueeze(-2)
        log_box = math.log(BOX) - (high - low).log().sum(-1)
        log_q = log_q + math.log1p(-BOX)
        log_q = torch.where(((x >= low) & (x <= high)).all(-1), torch.logaddexp(log_q, log_box), log_q)
    return log_q


def _components(weights: Tensor, means: Tensor, trils: Tensor) -> dict[str, Tensor]:
    """The buffers of a Gaussian mixture: ``(k,)``, ``(k, d)``, ``(k, d, d)`` and what log q needs of them."""
    log_det = trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return {
        "noise_weights": weights,
        "noise_means": means,
        "noise_trils": trils,
        "noise_inverses": torch.linalg.inv(trils),
        "noise_offsets": weights.log() - log_det - 0.5 * means.shape[-1] * math.log(2 * math.pi),
    }


def _fit_mixture(data: Tensor, rng: Rng, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``(k,)``, means ``(k, d)`` and Cholesky factors ``(k, d, d)``, the latter times ``scale``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n, d = data.shape
    rows = data[rng.permutation(n)[: max(ROWS, 20 * d)]].double().cpu()
    centre, sd = rows.mean(0), rows.std(0)
    sd = sd.clamp(min=1e-3 * sd.max().item())  # a constant column has none
    kind = "full" if d <= FULL_DIM else "diag"
    k = max(1, min(COMPONENTS, len(rows) // (10 * d if kind == "full" else 20)))
    seed = int(rng.integers(2**31 - 1, ()).item())
    mixture = GaussianMixture(k, covariance_type=kind, reg_covar=1e-4, random_state=seed)
    with warnings.catch_warnings():
        # The noise need not be the best fit: any density that covers the data will do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(((rows - centre) / sd).numpy())
    fitted = (mixture.weights_, mixture.means_, mixture.covariances_)
    weights, means, covariances = map(torch.as_tensor, fitted)
    trils = covariances.sqrt().diag_embed() if kind == "diag" else torch.linalg.cholesky(covariances)
    made = (weights, centre + sd * means, scale * sd[:, None] * trils)
    weights, means, trils = (t.to(data.device, data.dtype) for t in made)
    return weights, means, trils


class NoiseMethod(Method):
    """What methods that compare data with noise share: the noise's settings, its fit, and a learned log Z.

    Subclasses are registered and declare the fields ``noise`` and ``scale``.
    """

    noise: str
    scale: float

    @property
    def constant(self) -> str:
        """The name of the learned log-normaliser among the energy's constants; "" without one."""
        return ""

    def __post_init__(self) -> None:
        if self.noise not in KINDS:
            raise SpecError(f"{self.name}.noise: {self.noise!r} given; allowed: {', '.join(KINDS)}")
        if not self.scale > 0:
            raise SpecError(f"{self.name}.scale: {self.scale} given; allowed: a positive number")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """Fits the noise, and starts the log-normaliser at an importance estimate of log Z."""
        buffers = fit(self.noise, data, rng, self.scale)
        if not self.constant:
            return State(buffers=buffers)
        c = estimate_log_z(energy, buffers, rng)
        return State(params={"energy": Constants(**{self.constant: c})}, buffers=buffers)

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value | None:
        """The learned log-normaliser, None without one."""
        return learned(state, self.constant) if self.constant else None

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The log-normaliser at log Z(k), and the noise fitted to the data's law."""
        d = len(mu)
        if self.noise in ROUND:
            tril = self.scale * math.sqrt(v) * torch.eye(d, dtype=mu.dtype)
            buffers = _components(mu.new_ones(1), mu[None], tril[None])
        else:
            rng = Rng.of("noise", "at_gaussian", dtype=mu.dtype)
            buffers = fit(self.noise, mu + math.sqrt(v) * rng.normal((ROWS, d)), rng, self.scale)
        if not self.constant:
            return State(buffers=buffers)
        c = 0.5 * d * (2 * math.pi / k).log()
        return State(params={"energy": Constants(**{self.constant: c})}, buffers=buffers)


def estimate_log_z(energy: Energy, q: Mapping[str, Tensor], rng: Rng, n: int = START) -> Tensor:
    """The importance estimate ``()`` of log Z from n noise points; low by Var(exp(-E)/q)/(2nZ²)."""
    y = sample(energy, (n,), q, rng)
    with torch.no_grad():
        return (-energy(y) - log_prob(y, q)).logsumexp(-1) - math.log(n)


def contrast(log_ratio: Tensor, n: int) -> dict[str, Tensor]:
    """How far apart model and noise are, from log p - log q ``(..., n + m)`` of n data and m noise points.

    Both are 0.5 where model and noise are equal, whatever the number of noise points per datum.

    Returns:
        accuracy: share of points told apart by the sign of the ratio, data and noise with equal weight; near
            1 the gap is too wide to learn from.
        overlap: E_d q/(p + q), an estimate of ∫ pq/(p + q) once p is the data's density.
    """
    data, noise = log_ratio[..., :n], log_ratio[..., n:]
    accuracy = 0.5 * ((data > 0).to(data).mean(-1) + (noise <= 0).to(data).mean(-1))
    return {"accuracy": accuracy, "overlap": torch.sigmoid(-data).mean(-1)}
