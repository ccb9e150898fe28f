"""The optimisers a study can name, all with the same two ingredients: a rate and Adam's two decays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


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


class FusedAdam(torch.optim.Adam):
    """torch's fused Adam, which remembers what torch gathers anew at every step.

    The numbers are the same, by the same kernel. The gathering takes some 0.1 ms in the midst of other work,
    while an average step of a small network takes 3.

    Args:
        parameters: all of one dtype and on one device; a step needs a gradient of each.
        lr: the rate.
        betas: the decays.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(parameters, lr=lr, betas=betas, fused=True)
        self._kept: tuple[list[Tensor], ...] = ()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # takes no closure
        """One step; one in which a gradient is missing is torch's own."""
        group = self.param_groups[0]
        gradients = [p.grad for p in group["params"]]
        if any(g is None for g in gradients):
            super().step()
            return
        means, squares, steps = self._kept = self._kept or self._gathered(group["params"])
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            group["params"],
            gradients,
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _gathered(self, parameters: Sequence[nn.Parameter]) -> tuple[list[Tensor], ...]:
        """Means, squares and counts of steps; one that has not been stepped starts as torch starts it."""
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.float32, device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        states = [self.state[p] for p in parameters]
        return tuple([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step"))


Make = Callable[[Sequence[nn.Parameter], float, tuple[float, float]], torch.optim.Optimizer]
OPTIMISERS: Mapping[str, Make] = {
    "adam": FusedAdam,
    "normalised_sgd": lambda parameters, lr, betas: NormalisedSGD(parameters, lr),
}
