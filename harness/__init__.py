"""ebmark: a distributed benchmark of the ways to train an energy-based model, p(x) = exp(-E(x)) / Z.

    >>> import ebmark
    >>> sorted(set(ebmark.__all__) - {"__version__"})
    ['DivergedError', 'EbmarkError', 'Fit', 'LogZ', 'Results', 'Run', 'fit', 'load', 'log_z', 'read', 'run']

``run`` a study, ``read`` its results, ``load`` a fitted network of them; ``fit`` a network of one's own with
any method and find its ``log_z``. Nothing heavy is imported before one of them is used. What a plug-in is
written against is in ``ebmark.api``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebmark.errors import EbmarkError
    from ebmark.fitting import Fit, LogZ, fit, log_z
    from ebmark.results import Results, Run, read, run
    from ebmark.stored import load
    from ebmark.train import DivergedError

__all__ = [
    "DivergedError",
    "EbmarkError",
    "Fit",
    "LogZ",
    "Results",
    "Run",
    "__version__",
    "fit",
    "load",
    "log_z",
    "read",
    "run",
]
__version__ = "0.1.0"

_HOMES = {
    "DivergedError": "ebmark.train",
    "EbmarkError": "ebmark.errors",
    "Fit": "ebmark.fitting",
    "LogZ": "ebmark.fitting",
    "Results": "ebmark.results",
    "Run": "ebmark.results",
    "fit": "ebmark.fitting",
    "load": "ebmark.stored",
    "log_z": "ebmark.fitting",
    "read": "ebmark.results",
    "run": "ebmark.results",
}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first asked for, so that ``import ebmark`` stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ebmark' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    """What is public: no names that this file imports, and none of the modules that were needed since."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
