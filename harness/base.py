"""The base of a sequential Monte Carlo run, and the path from it to the model.

The base is a Gaussian mixture fitted to data; modes that a probe finds elsewhere may be added:

    q(z) = (1 - a) Σ_k w_k N(z; m_k, 1.2 C_k) + a/M Σ_j N(z; z_j, 1.2 C_j),    a = 0.2 if M > 0, else 0
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Meter, Rng
from ebmark.derivatives import Along, Derived, derive

COMPONENTS = 8
FULL_DIM = 20  # largest d at which every component has a full covariance
WIDEN = 1.2  # factor on the covariances, so that the base's tails cover the model's
ROWS = 2000  # data points that the base is fitted to (or 20 d, if that is more)
ADDED = 0.2  # total weight of added modes
RIDGE = 1e-4  # on the covariances of standardised data
STARTS = 4  # of k-means, which from one start often merges two light modes


class NotFinite(ArithmeticError):
    """The energy is infinite or NaN at a particle."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A Gaussian mixture: ``weights (k,)``, ``means (k, d)``, Cholesky factors and inverses ``(k, d, d)``.

    It lives in whitened coordinates z: x = centre + scale z, ``centre (d,)``, triangular ``scale (d, d)``.
    """

    weights: Tensor
    means: Tensor
    trils: Tensor
    inverses: Tensor
    centre: Tensor
    scale: Tensor

    def to_data(self, z: Tensor) -> Tensor:
        """The points x ``(..., d)`` at z ``(..., d)``."""
        return self.centre + z @ self.scale.mT

    def to_white(self, x: Tensor) -> Tensor:
        """The z ``(..., d)`` of points x ``(..., d)``."""
        z: Tensor = torch.linalg.solve_triangular(self.scale, (x - self.centre).mT, upper=False).mT
        return z

    def with_modes(self, means: Tensor, trils: Tensor) -> Base:
        """This base at weight 0.8 and the modes N(``means (m, d)``, tril tril') at 0.2 in all."""
        m = len(means)
        trils = math.sqrt(WIDEN) * torch.cat([self.trils / math.sqrt(WIDEN), trils])
        return replace(
            self,
            weights=torch.cat([(1 - ADDED) * self.weights, self.weights.new_full((m,), ADDED / m)]),
            means=torch.cat([self.means, means]),
            trils=trils,
            inverses=torch.linalg.inv(trils),
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density log q(z) ``(...)``, with respect to z."""
        return self._components(z)[0].logsumexp(-1)

    def log_prob_and_score(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density ``(...)`` and its gradient ``(..., d)``."""
        log_w, y = self._components(z)
        k, d = self.means.shape
        pulled = (log_w.softmax(-1).unsqueeze(-1) * y).flatten(-2)
        return log_w.logsumexp(-1), -pulled @ self.inverses.reshape(k * d, d)

    def _components(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Each component's log-density with its weight ``(..., k)``, and z whitened by it ``(..., k, d)``."""
        k, d = self.means.shape
        offset = (self.inverses @ self.means.unsqueeze(-1)).squeeze(-1)
        y = (z @ self.inverses.reshape(k * d, d).mT).reshape(*z.shape[:-1], k, d) - offset
        log_det = self.trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_norm = self.weights.log() - log_det - 0.5 * d * math.log(2 * math.pi)
        return log_norm - 0.5 * y.square().sum(-1), y

    def sample(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """Points z ``(*shape, d)`` from q: along the last axis each component has its share, in its order.

        A point by itself is of q only where its place in the row is random, but a mean over the row has the
        mean of q: the weights of modes are not left to chance, and systematic resampling keeps them.
        """
        *rows, n = shape
        place = (torch.arange(n, device=rng.device) + rng.uniform((*rows, 1))) / n
        component = torch.searchsorted(self.weights.cumsum(0), place, right=True)
        component = component.clamp(max=len(self.weights) - 1)
        ξ = rng.normal((*shape, self.means.shape[-1]))
        every = self.means + torch.einsum("kij,...j->...ki", self.trils, ξ)
        return every.gather(-2, component[..., None, None].expand(*shape, 1, ξ.shape[-1])).squeeze(-2)


class _Tempered(nn.Module):
    """-log π_β(z) up to a constant."""

    def __init__(self, energy: nn.Module, base: Base, beta: float) -> None:
        super().__init__()
        self.energy, self.base, self.beta = energy, base, beta

    def forward(self, z: Tensor) -> Tensor:
        E: Tensor = self.energy(self.base.to_data(z))
        return self.beta * E - (1 - self.beta) * self.base.log_prob(z)

    def derive(self, z: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        E = derive(self.energy, self.base.to_data(z))
        log_q, score = self.base.log_prob_and_score(z)
        gradient = self.beta * (E.gradient @ self.base.scale) - (1 - self.beta) * score
        return Derived(self.beta * E.value - (1 - self.beta) * log_q, gradient, None)


class Path:
    """The path from ``base`` to the model ``module``; its work is counted on ``meter``."""

    def __init__(self, module: nn.Module, base: Base, meter: Meter) -> None:
        self.base = base
        self._energy = Energy(module, meter)
        self.log_det = base.scale.diagonal().double().log().sum()

    def from_base(self, base: Base) -> Path:
        """The path from another base to the same model, counted on the same meter."""
        return Path(self._energy.module, base, self._energy.meter)

    def at(self, beta: float) -> Energy:
        """-log π_β as an energy of z, for a sampler."""
        return Energy(_Tempered(self._energy.module, self.base, beta), self._energy.meter)

    def log_ratio(self, z: Tensor) -> Tensor:
        """Returns log p̃ - log q ``(...)`` at z in float64; under q the mean of its exponential is Z.

        Raises:
            NotFinite: the energy is infinite or NaN at one of the points.
        """
        with torch.no_grad():
            E = self._energy(self.base.to_data(z)).double()
            if bad := int((~torch.isfinite(E)).sum()):
                raise NotFinite(f"the energy is not finite at {bad} of {E.numel()} particles")
            return self.log_det - E - self.base.log_prob(z).double()


def fit_base(data: Tensor, rng: Rng) -> Base:
    """A Gaussian mixture fitted to ``data (n, d)`` by expectation maximisation, its covariances times 1.2.

    Up to 8 components with full covariance for d <= 20, one of them per 10 d points; above that clusters that
    share one full covariance if n > 10 d, else up to 8 diagonal components, one per 20 points.
    """
    n, d = data.shape
    rows = data[rng.permutation(n)[: max(ROWS, 20 * d)]].double().cpu()
    centre, sd = rows.mean(0), rows.std(0)
    sd = sd.clamp(min=1e-3 * sd.max().item())
    x, seed = (rows - centre) / sd, int(rng.integers(2**31 - 1, ()).item())
    if d > FULL_DIM and n > 10 * d:
        weights, means, covariances = _clusters(x, seed)
    else:
        kind = "full" if d <= FULL_DIM else "diag"
        k = max(1, min(COMPONENTS, len(rows) // (10 * d if kind == "full" else 20)))
        weights, means, covariances = _mixture(x, k, kind, seed)
    L = torch.linalg.cholesky((weights[:, None, None] * covariances).sum(0))
    inverse = torch.linalg.inv(L)
    trils = torch.linalg.cholesky(WIDEN * inverse @ covariances @ inverse.mT)
    tensors = {
        "weights": weights,
        "means": means @ inverse.mT,
        "trils": trils,
        "inverses": torch.linalg.inv(trils),
        "centre": centre,
        "scale": sd[:, None] * L,
    }
    return Base(**{name: t.to(rng.device, rng.dtype) for name, t in tensors.items()})


def _clusters(x: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """1, 2, 4 or 8 clusters of ``x (n, d)`` as a mixture, with the covariance within them for each.

    As many as have the best likelihood, every point in its own cluster, less Schwarz's charge for the means.
    A single Gaussian over modes that lie apart would leave their weights to resampling, which gets them wrong
    by several times the error of independent samples.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    found, highest = None, -math.inf
    for k in (1, 2, 4, COMPONENTS):
        with warnings.catch_warnings():
            # Fewer distinct points than clusters: one is empty, and its likelihood NaN.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = KMeans(k, n_init=STARTS, random_state=seed).fit_predict(x.numpy())
        member = torch.nn.functional.one_hot(torch.as_tensor(labels).long(), k).to(x)
        weights = member.mean(0)
        means = member.mT @ x / (weights[:, None] * len(x))
        within = x - member @ means
        covariance = within.mT @ within / len(x) + RIDGE * torch.eye(x.shape[-1], dtype=x.dtype)
        charge = 0.5 * (k - 1) * x.shape[-1] * math.log(len(x)) / len(x)
        likelihood = (weights.xlogy(weights).sum() - 0.5 * torch.logdet(covariance)).item() - charge
        if likelihood > highest:
            found, highest = (weights, means, covariance.expand(k, -1, -1)), likelihood
    assert found is not None
    return found


def _mixture(x: Tensor, k: int, kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``(k,)``, means ``(k, d)``, covariances ``(k, d, d)`` of a mixture fitted to ``x (n, d)``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(k, covariance_type=kind, reg_covar=RIDGE, max_iter=30, random_state=seed)
    with warnings.catch_warnings():
        # The base need not be the best fit: any mixture that covers the data will do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(x.numpy())
    fitted = (mixture.weights_, mixture.means_, mixture.covariances_)
    weights, means, covariances = map(torch.as_tensor, fitted)
    return weights, means, torch.diag_embed(covariances) if kind == "diag" else covariances
