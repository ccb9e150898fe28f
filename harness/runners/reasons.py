"""What Ray says of dead workers, as parts of the reasons that rows give."""

from __future__ import annotations

import re


def times(tries: int) -> str:
    """How often, as part of a sentence; nothing for once."""
    return f" {tries + 1} times, in as many attempts" if tries else ""


def used(error: BaseException) -> str:
    """How full the machine's memory was, as part of a sentence."""
    found = re.search(r"was (\S+ used / \S+) limit", str(error))
    return f", with {found[1]} of its machine" if found else ""


def detail(error: BaseException) -> str:
    """What Ray says of a dead worker, in one line."""
    text = " ".join(str(error).split())
    _, found, rest = text.partition("exit detail: ")
    what = rest.partition(". There are some")[0] if found else text
    return f"{type(error).__name__}: {what[:300]}"
