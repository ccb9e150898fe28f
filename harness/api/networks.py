"""What a network is written against."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ebmark.api.plugin import Plugin
from ebmark.rng import Rng


class Network(Plugin):
    """An architecture: settings and ``build``.

    Class attributes:
        smooth: it has second derivatives (a ReLU network has not).
        normalisable: exp(-E) has a finite integral whatever the parameters are.
        many_heads: ``build`` takes one more argument ``heads``; with more than one the module maps x
            ``(..., d)`` to ``(..., heads)``, energies on a shared trunk.
        known_z: the module has a method ``log_z()``, log Z ``()`` in closed form, differentiable.
        of_target: ``build`` takes one more argument ``dataset``, whose density must be known.
    """

    kind = "network"
    smooth: bool = True
    normalisable: bool = True
    many_heads: ClassVar[bool] = False
    known_z: bool = False
    of_target: ClassVar[bool] = False

    def skip(self, d: int) -> str | None:
        """Why it cannot be built for data of dimension ``d``, or None."""
        return None

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """A freshly initialised energy for data like ``data (n, d)``, in the data's dtype and device."""
        raise NotImplementedError(f"{type(self).__name__} has no build")
