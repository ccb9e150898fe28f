"""Pages whose tables are made by a program: each stands between ``<!-- name -->`` and ``<!-- /name -->``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ebmark.errors import EbmarkError


def marks(name: str) -> tuple[str, str]:
    """The comments around the table ``name``."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def between(text: str, name: str, lines: Iterable[str]) -> str:
    """``text`` with what stands between the marks of ``name`` replaced by ``lines``.

    Raises:
        EbmarkError: there is no place of that name.
    """
    begin, end = marks(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise EbmarkError(f"no table {name!r}; allowed: between '{begin}' and '{end}'")
    return head + "\n".join([begin, *lines, end]) + tail


def settle(page: Path, text: str, wanted: str, what: str, *, fix: bool) -> int:
    """Rewrites a page that is not as wanted if ``fix``; otherwise says so in one line and returns 1."""
    if text == wanted:
        return 0
    if fix:
        page.write_text(wanted, encoding="utf-8")
        return 0
    print(f"{page}: {what} out of date; run scripts/check --fix", file=sys.stderr)
    return 1
