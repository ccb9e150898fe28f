"""Statements of theory about methods and samplers, one list for the tests and for `scripts/bench theory`."""

from tests.theory import chains, contrastive, scores, separation
from tests.theory.core import ITEMS, Item, Row

__all__ = ["ITEMS", "Item", "Row", "chains", "contrastive", "scores", "separation"]
