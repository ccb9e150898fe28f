"""Whether a function of the caller's is an energy: one number a point, and a Z that may be finite.

What a study's networks promise by their class has to be found out of any other module by calling it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ebmark.errors import SpecError

TYPES = (torch.float32, torch.float64)
RAYS, FAR = 64, 1e3  # directions, and how far out along them, in root mean square deviations of the data
ROWS, LOOKS = 32, 1000  # data points from which every direction is looked along, fewer above d = 30
REACH = (5.0, 10.0, 15.0, 20.0)  # of the data's deviations; at 10 the sampler still found log Z, at 30 not
FLAT = 1.0  # nats


def check_place(module: nn.Module) -> None:
    """Refuses what no estimate or training can be made of, before it is called.

    Raises:
        SpecError: the module's numbers are of a type or on a device without arithmetic, it draws or averages
            over a batch, or gradients are switched off for good.
    """
    if torch.is_inference_mode_enabled():
        raise SpecError("energy: torch.inference_mode is on; allowed: torch.no_grad, or neither")
    for t in (*module.parameters(), *module.buffers()):
        if t.is_floating_point() and t.dtype not in TYPES:
            raise SpecError(f"energy: of {t.dtype}; allowed: torch.float32, torch.float64")
        if t.is_meta:
            raise SpecError("energy: on the device meta, which holds no numbers; allowed: one that does")
    for part in module.modules():
        if part.training and isinstance(part, _BatchNorm | _DropoutNd):
            raise SpecError(
                f"energy: {type(part).__name__} in training mode, so that E(x) depends on chance or on other "
                "points; allowed: one number a point; energy.eval() gives that"
            )


def check_values(module: nn.Module, x: Tensor, heads: int = 1) -> None:
    """Calls the module at a few of ``x (n, d)``: one real number per point, or per point and head.

    Raises:
        SpecError: it fails, gives something else, or another value when it is called again.
    """
    few = x[:2]
    wanted = (len(few), heads) if heads > 1 else (len(few),)
    first = _called(module, few)
    if first.shape != wanted:
        raise SpecError(
            f"energy: gives shape {tuple(first.shape)} for points {tuple(few.shape)}; allowed: {wanted}"
        )
    if not _alike(first, _called(module, few)):
        raise SpecError("energy: gives other values for the same points when it is called again")


def takes_leading(module: nn.Module, x: Tensor) -> bool:
    """Whether points ``(..., d)`` may have more than one leading dimension, as samplers give them."""
    few = x[:2]
    try:
        found = _called(module, few.expand(3, *few.shape))
    except SpecError:
        return False
    flat = _called(module, few)
    return found.shape == (3, *flat.shape) and _alike(found, flat.expand_as(found))


def _alike(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding, which on a GPU may differ between two calls."""
    return torch.allclose(a.nan_to_num(), b.nan_to_num(), rtol=1e-3, atol=1e-3)


def _called(module: nn.Module, x: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            E = module(x)
    except Exception as error:  # the caller's code may raise anything
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpecError(f"energy: fails on points of shape {tuple(x.shape)}: {line}") from error
    if not isinstance(E, Tensor) or not E.is_floating_point():
        kind = E.dtype if isinstance(E, Tensor) else type(E).__name__
        raise SpecError(f"energy: gives {kind}; allowed: a tensor of floating-point numbers")
    return E


class Flattened(nn.Module):
    """A module that takes points ``(n, d)`` alone, for any ``(..., d)``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        E: Tensor = self.module(x.reshape(-1, x.shape[-1]))
        return E.reshape(x.shape[:-1])


def doubts(energy: Callable[[Tensor], Tensor], x: Tensor, *, widths: bool) -> Iterator[str]:
    """Reasons why log Z may be wrong that a sampler near the data ``x (n, d)`` cannot see, by calls alone.

    Args:
        energy: x ``(..., d)`` -> E(x) ``(...)``.
        x: the data.
        widths: look along every direction for a model much wider than the data.
    """
    if slow := _slow_rays(energy, x):
        yield f"along {slow} of {RAYS} rays the energy grows too slowly far out: Z may be infinite"
    if widths and _wide(energy, x):
        yield f"in some direction the model is more than {REACH[-1]:g} times as wide as the data"


@torch.no_grad()
def _slow_rays(energy: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """The rays along which E grows by less than d log 2 from a distance to twice it.

    ∫ r^(d-1) exp(-E) dr over a cone of such rays does not converge, if they go on like that.
    """
    d = x.shape[-1]
    # named draws, so that the caller's generator is left alone
    u = torch.randn(RAYS, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
    u = u / u.norm(dim=-1, keepdim=True)
    r = FAR * x.var(0).sum().sqrt()
    near, far = (energy(x.mean(0) + times * r * u).double() for times in (1, 2))
    return int((far - near < d * math.log(2)).sum())  # where both are infinite the difference is NaN


@torch.no_grad()
def _wide(energy: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether from half of the data the energy stays flat 20 deviations long, along some axis of theirs."""
    n, d = x.shape
    rows = x[torch.linspace(0, n - 1, max(4, min(ROWS, LOOKS // d)), device=x.device).long()]
    centred = (x - x.mean(0)).double()
    covariance = centred.mT @ centred / n
    tiny = 1e-12 * covariance.diagonal().mean() * torch.eye(d, dtype=torch.float64, device=x.device)
    L = torch.linalg.cholesky_ex(covariance + tiny)[0].to(x)
    E = energy(rows)
    for axis in L.mT:
        for sign in (1, -1):
            steps = sign * torch.tensor(REACH, dtype=x.dtype, device=x.device)
            along = energy(rows + steps[:, None, None] * axis)
            if (along - E < FLAT).all(0).double().mean() > 0.5:
                return True
    return False
