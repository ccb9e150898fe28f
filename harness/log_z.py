"""log Z of an energy, and samples of its model: quadrature for d <= 3, sequential Monte Carlo above.

Both come with a standard error and with reasons not to trust them. What this version does **not** detect: a
mode of the model that the base, a mixture fitted to the training data, does not reach. Every particle then
misses it, the runs agree with each other, log Z comes out too low and the likelihood therefore too high, and
nothing is flagged. A quadrature sees such a mode only if it lies in the box around the data.

The default cap of 220,000 gradients pays for about 13 temperatures. With an energy of three layers of 128
a gradient takes 5 µs at d = 8 and 32 and 7 µs at d = 64 on one idle CPU thread: at most 1.1 and 1.5 s. A
model close to the base takes 40,000 to 90,000 gradients.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ebmark import smc as sequential
from ebmark.api import Energy, Meter, Rng, Value
from ebmark.quadrature import POINTS, dtype_of, integrate
from ebmark.samplers import hmc

MAX_GRADIENTS = 220_000
PILOT_SHARE = 0.4  # of the cap, at most
COMPONENTS = 8  # of the base
FULL_DIM = 20  # largest d at which every component has a full covariance
WIDEN = 1.2  # factor on the base's covariance, so that its tails cover the model's
ROWS = 2000  # data points that the base is fitted to (or 20 d, if that is more)
T_QUANTILE = 2.365  # Student's t, 97.5 %, 8 - 1 = 7 degrees of freedom
MOST_SD, LEAST_ACCEPTANCE = 1.0, 0.15
IMPROPER = "the network has no Gaussian term, so Z may be infinite"


@dataclass(frozen=True, kw_only=True)
class LogZ:
    """log Z in nats, how far to trust it, and what it cost.

    Attributes:
        value: the estimate; NaN where the energy is not finite.
        se: standard error: jackknife over the runs, or the quadrature's difference from half the points.
        lo: lower end of a 95 % interval (quadrature: value - se).
        hi: upper end.
        trusted: there is no reason against it.
        reasons: what speaks against it, one line each.
        samples: of the model, equally weighted ``(m, d)``; None from a quadrature or a failure.
        gradients: work spent, in gradients on one point (2 F each).
        seconds: wall-clock spent.
        method: "quadrature" or "smc".
    """

    value: float
    se: float
    lo: float
    hi: float
    trusted: bool
    reasons: tuple[str, ...]
    samples: Tensor | None
    gradients: float
    seconds: float
    method: Literal["quadrature", "smc"]

    def as_value(self) -> Value:
        """What metrics see of it."""
        reasons = "; ".join(self.reasons)
        return Value(
            value=self.value, se=self.se, lo=self.lo, hi=self.hi, trusted=self.trusted, reasons=reasons
        )


def log_z(
    energy: Energy,
    data: Tensor,
    rng: Rng,
    *,
    max_gradients: float = MAX_GRADIENTS,
    samples: int = 1024,
    improper: bool = False,
) -> LogZ:
    """Finds log Z by the best means for the dimension. Arguments as for ``smc``.

    For d <= 3 a quadrature, without samples: those come from ``smc`` in every dimension, so that all methods
    and dimensions share one sampler and one budget.
    """
    if data.shape[-1] not in POINTS:
        return smc(energy, data, rng, max_gradients=max_gradients, samples=samples, improper=improper)
    meter = Meter(data.device)
    with meter.phase("evaluation"):
        integral = integrate(Energy(energy.module, meter), data)
    reasons = integral.reasons + ((IMPROPER,) if improper else ())
    return _result("quadrature", meter, (integral.value, integral.error, integral.error), reasons)


def smc(
    energy: Energy,
    data: Tensor,
    rng: Rng,
    *,
    max_gradients: float = MAX_GRADIENTS,
    samples: int = 1024,
    improper: bool = False,
) -> LogZ:
    """Finds log Z and model samples by 8 runs of 128 particles; the module's text says what it misses.

    Args:
        energy: of the model; its own meter is left alone.
        data: training points ``(n, d)`` that the base is fitted to.
        rng: the stream; the same stream gives the same result.
        max_gradients: cap on the work. A longer schedule is thinned to fit, and the result flagged.
        samples: number m of samples: the weighted particles, pooled and resampled, after two more moves.
        improper: the network is known to have no term that makes it normalisable.
    """
    meter = Meter(data.device)
    n, d = data.shape
    reasons = [IMPROPER] if improper else []
    if n < 2 * d:
        reasons.append(f"the base is fitted to n = {n} points, fewer than 2 d = {2 * d}")
    value, se, x = math.nan, math.nan, None
    with meter.phase("evaluation"):
        dtype = dtype_of(energy.module, data.dtype)
        rng = Rng(rng.split("smc").seeds[0], device=data.device, dtype=dtype)
        path = sequential.Path(energy.module, fit_base(data, rng), meter)
        try:
            schedule = _schedule(path, rng, max_gradients, samples)
            runs = sequential.run(path, schedule, rng)
            x = _draw(path, runs, schedule.steps[-1], samples, rng).to(data.dtype)
            value, se = log_mean(runs.log_z)
            reasons += _doubts(schedule, runs, max_gradients)
        except sequential.NotFinite as error:
            reasons.append(str(error))
    return _result("smc", meter, (value, se, T_QUANTILE * se), tuple(reasons), x)


def _result(
    method: Literal["quadrature", "smc"],
    meter: Meter,
    estimate: tuple[float, float, float],
    reasons: tuple[str, ...],
    samples: Tensor | None = None,
) -> LogZ:
    value, se, half = estimate
    return LogZ(
        value=value,
        se=se,
        lo=value - half,
        hi=value + half,
        trusted=not reasons,
        reasons=reasons,
        samples=samples,
        gradients=meter.passes.total / 2,
        seconds=sum(meter.seconds.values()),
        method=method,
    )


def log_mean(log_z: Tensor) -> tuple[float, float]:
    """The log of the mean of exp(log_z), ``log_z (R,)``, and its jackknife standard error."""
    R = len(log_z)
    itself = torch.eye(R, dtype=torch.bool, device=log_z.device)
    left_out = log_z.expand(R, R).masked_fill(itself, -math.inf).logsumexp(-1)
    se = math.sqrt((R - 1) * left_out.var(correction=0).item())
    return log_z.logsumexp(-1).item() - math.log(R), se


def _schedule(path: sequential.Path, rng: Rng, max_gradients: float, samples: int) -> sequential.Schedule:
    """The pilot's schedule, thinned to what the cap leaves for the runs."""
    runs = sequential.GRADIENTS * sequential.RUNS * sequential.PARTICLES  # gradients per temperature
    one = sequential.GRADIENTS * sequential.PILOT
    spare = max_gradients - sequential.GRADIENTS * samples
    most = int(min(PILOT_SHARE * max_gradients, spare - runs) / one)
    if most < 1:
        least = max(one / PILOT_SHARE, max_gradients - spare + runs + one)
        raise ValueError(f"max_gradients = {max_gradients:.0f}: {samples} samples need at least {least:.0f}")
    schedule = sequential.pilot(path, rng, most)
    return schedule.thin(int((spare - len(schedule.betas) * one) / runs))


def _draw(path: sequential.Path, runs: sequential.Runs, h: float, m: int, rng: Rng) -> Tensor:
    """Draws ``m`` equally weighted samples ``(m, d)``: all particles, resampled and moved twice."""
    pool = runs.z.flatten(0, 1)
    z = pool[sequential.systematic(runs.log_w.flatten().softmax(-1), m, rng)]
    step = torch.tensor(h, dtype=z.dtype, device=z.device)
    z = hmc(path.at(1.0), z, k=sequential.MOVES, leapfrogs=sequential.LEAPFROGS, h=step, rng=rng).x
    path.log_ratio(z)  # refuses an energy that is not finite where the moves have led
    return path.base.to_data(z)


def _doubts(schedule: sequential.Schedule, runs: sequential.Runs, max_gradients: float) -> list[str]:
    """Reasons not to trust a finite estimate."""
    reasons = []
    if not schedule.complete:
        left = len(schedule.betas)
        reasons.append(f"the cap of {max_gradients:.0f} gradients leaves only {left} temperatures")
    if (sd := runs.log_z.std().item()) > MOST_SD:
        reasons.append(f"log Z varies between runs by sd = {sd:.3g}, more than {MOST_SD:g}")
    if (least := runs.acceptance.min().item()) < LEAST_ACCEPTANCE:
        reasons.append(f"the smallest acceptance is {least:.2g}, less than {LEAST_ACCEPTANCE:g}")
    return reasons


def fit_base(data: Tensor, rng: Rng) -> sequential.Base:
    """A Gaussian mixture fitted to ``data (n, d)`` by expectation maximisation, its covariances times 1.2.

    Up to 8 components with full covariance for d <= 20, one of them per 10 d points; above that one full
    Gaussian if n > 10 d, else up to 8 diagonal ones, one per 20 points.
    """
    n, d = data.shape
    rows = data[rng.permutation(n)[: max(ROWS, 20 * d)]].double().cpu()
    centre, sd = rows.mean(0), rows.std(0)
    sd = sd.clamp(min=1e-3 * sd.max().item())
    kind = "full" if d <= FULL_DIM or n > 10 * d else "diag"
    most = 1 if d > FULL_DIM and kind == "full" else COMPONENTS
    k = max(1, min(most, len(rows) // (10 * d if kind == "full" else 20)))
    seed = int(rng.integers(2**31 - 1, ()).item())
    weights, means, covariances = _mixture((rows - centre) / sd, k, kind, seed)
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
    return sequential.Base(**{name: t.to(rng.device, rng.dtype) for name, t in tensors.items()})


def _mixture(x: Tensor, k: int, kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``(k,)``, means ``(k, d)``, covariances ``(k, d, d)`` of a mixture fitted to ``x (n, d)``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(k, covariance_type=kind, reg_covar=1e-4, max_iter=30, random_state=seed)
    with warnings.catch_warnings():
        # The base need not be the best fit: any mixture that covers the data will do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(x.numpy())
    fitted = (mixture.weights_, mixture.means_, mixture.covariances_)
    weights, means, covariances = map(torch.as_tensor, fitted)
    return weights, means, torch.diag_embed(covariances) if kind == "diag" else covariances
