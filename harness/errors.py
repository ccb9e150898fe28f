"""Errors that a user can cause.

::

    EbmarkError            anything the command line prints as one line, exit code 1
    ├── SpecError          a study file, a selector or an option
    ├── PluginError        a name that is unknown, ambiguous or cannot be imported
    ├── RunError           workers, machines or a cluster that cannot run trials
    └── StoreError         a results folder that cannot be read or written
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EbmarkError(Exception):
    """One line: what, where, what was given, what is allowed, the next command."""


class SpecError(EbmarkError):
    """A study file, a selector or a command-line option that cannot be used."""


class PluginError(EbmarkError):
    """A plug-in that is unknown, ambiguous or broken."""


class RunError(EbmarkError):
    """Workers, machines or a cluster that cannot run trials."""


class StoreError(EbmarkError):
    """A results folder that cannot be read or written."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """'; did you mean X?' where something close is allowed, else '; allowed: a, b, c'."""
    names = sorted(allowed)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names) or 'none'}"
