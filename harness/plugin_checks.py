"""What a conformance test has found, and what the tests of all kinds of plug-in share."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TypeVar

from ebmark.api import Plugin
from ebmark.errors import EbmarkError

P = TypeVar("P", bound=Plugin)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        what: the check, with the settings it was made at.
        ok: whether it passed.
        found: what was measured against what was declared, and the likely fault where it failed.
    """

    what: str
    ok: bool
    found: str


def at_defaults(cls: type[P]) -> P | Finding:
    """The plug-in with its default settings, or why there is none."""
    try:
        return cls()
    except (EbmarkError, TypeError) as error:
        found = f"{error}; give every setting a default, so that it can be tested"
        return Finding(what=f"{cls.name} at its defaults", ok=False, found=found)


def pickles(plugin: Plugin) -> Finding:
    """Whether it travels to another process."""
    same = pickle.loads(pickle.dumps(plugin)) == plugin
    return Finding(what=f"{plugin!r}: pickles", ok=same, found="equal" if same else "the copy differs")


def raised(what: str, error: Exception) -> Finding:
    """A plug-in may raise anything; that is the finding."""
    return Finding(what=what, ok=False, found=f"{type(error).__name__}: {error}")
