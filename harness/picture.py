"""The picture of a fitted energy in the plane: its density and the target's on a lattice, and points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ebmark.api import Dataset

CELLS, POINTS = 200, 1000
# Decimals of the points and of the log-densities: a picture shows no more, and a file stays near 200 kB.
POINT_DECIMALS, DENSITY_DECIMALS = 3, 2


def picture(
    energy: nn.Module, log_z: float, drawn: Tensor | None, dataset: Dataset, test: Tensor
) -> list[dict[str, Any]]:
    """Rows of the samples table: log-densities on a lattice, then points of the model and of the target.

    Args:
        energy: the module of the graded energy.
        log_z: its log Z in nats.
        drawn: samples of its model ``(m, 2)``, if there are any.
        dataset: the target; its log-density is left out where it is not known.
        test: true points ``(n, 2)``, around which the lattice lies.
    """
    lattice = _lattice(test)
    with torch.no_grad():
        log_model = -energy(lattice).double() - log_z
    log_true: list[Any] = [None] * len(lattice)
    if dataset.exact:
        log_true = _rounded(dataset.log_prob(lattice), DENSITY_DECIMALS)
    columns = zip(_rounded(lattice), _rounded(log_model, DENSITY_DECIMALS), log_true, strict=True)
    rows = [{"what": "grid", "x": x, "log_model": m, "log_true": t} for x, m, t in columns]
    for what, sample in (("model", drawn), ("true", test)):
        points = () if sample is None else _rounded(sample[:POINTS])
        rows += [{"what": what, "x": x} for x in points]
    return rows


def _lattice(test: Tensor) -> Tensor:
    """A square of ``CELLS``² points around the test points."""
    centre, reach = test.mean(0), 1.1 * (test - test.mean(0)).abs().quantile(0.999).item()
    axis = torch.linspace(-reach, reach, CELLS, device=test.device, dtype=test.dtype)
    return centre + torch.cartesian_prod(axis, axis)


def _rounded(x: Tensor, decimals: int = POINT_DECIMALS) -> list[Any]:
    rounded: list[Any] = x.double().round(decimals=decimals).tolist()
    return rounded
