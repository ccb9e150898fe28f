"""The optimisers a study can name, all with the same two ingredients: a rate and Adam's two decays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


class NormalisedSGD(torch.optim.Optimizer):
    """θ ← θ - η g/|g|, with g the gradient in all of the player's parameters together.

    A step has the length η however flat or steep the loss is.

    Reference: Liu, Rosenfeld, Ravikumar and Risteski, Analyzing and improving the optimization landscape of
    noise-contrastive estimation, ICLR 2022, https://arxiv.org/abs/2110.11271
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # takes no closure
        """One step; a gradient of exactly zero moves nothing."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in moved]))
            for p in moved:
                p.sub_(p.grad * (group["lr"] / norm.clamp(min=torch.finfo(norm.dtype).tiny)))


Make = Callable[[Sequence[nn.Parameter], float, tuple[float, float]], torch.optim.Optimizer]
OPTIMISERS: Mapping[str, Make] = {
    "adam": lambda parameters, lr, betas: torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True),
    "normalised_sgd": lambda parameters, lr, betas: NormalisedSGD(parameters, lr),
}
