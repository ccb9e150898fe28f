"""ebmark: a distributed benchmark of the ways to train an energy-based model, p(x) = exp(-E(x)) / Z."""

__version__ = "0.1.0"
