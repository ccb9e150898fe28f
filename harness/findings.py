"""What the doctor finds: a value per look at the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: True well, False wrong, None neither (for information).
        found: what is there, one line.
        mend: what to do about it, empty where nothing is to be done.
    """

    name: str
    ok: bool | None
    found: str
    mend: str = ""


def well(name: str, found: str) -> Check:
    """Nothing is to be done."""
    return Check(name=name, ok=True, found=found)


def note(name: str, found: str, mend: str = "") -> Check:
    """For information."""
    return Check(name=name, ok=None, found=found, mend=mend)


def judged(name: str, ok: bool, found: str, mend: str) -> Check:
    """With what to do unless it is well."""
    return Check(name=name, ok=ok, found=found, mend="" if ok else mend)
