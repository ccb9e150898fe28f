"""The tables of methods in README.md and docs/methods.md, made from the docstrings.

``python -m ebmark.method_page PAGE...`` says which pages are out of date, with ``--fix`` it rewrites them. A
table stands between ``<!-- methods -->`` and ``<!-- /methods -->``, the longer one between
``<!-- methods in full -->`` and its end. docs/add-a-method.md says what a method's docstrings must hold.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from ebmark.api import Method
from ebmark.errors import EbmarkError, PluginError
from ebmark.marked import between, marks, settle
from ebmark.registry import entries, get

_CITATION = re.compile(r"\s*\(([^()]*\b\d{4}[^()]*)\)")
_REFERENCE = re.compile(r"^[ \t]*Reference:\s*(.+?)\s*(https?://[^\s>]+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A row of the tables.

    Attributes:
        name: the method's name.
        method: the first sentence of its docstring, without the citation.
        authors: as the citation names them, three or more as "First et al.".
        year: of the publication.
        title: of the publication, with the venue.
        link: its address.
        cost: in F per data point and step.
        minimiser: on data N(mu, v I), as a precision.
    """

    name: str
    method: str
    authors: str
    year: int
    title: str
    link: str
    cost: str
    minimiser: str


def facts(cls: type[Method]) -> Facts:
    """What the docstrings of a method say.

    Raises:
        PluginError: a piece is missing; one line that says in which file and which.
    """
    try:
        return _read(cls)
    except LookupError as missing:
        file = "/".join(Path(sys.modules[cls.__module__].__file__ or "").parts[-2:])
        raise PluginError(f"{file}: {cls.name}: {missing.args[0]}") from missing


@cache
def all_facts() -> tuple[Facts, ...]:
    """The facts of every built-in method, by name.

    Raises:
        PluginError: methods that cannot be imported or lack a piece, one line each.
    """
    found, wrong = [], []
    for entry in entries("method"):
        if entry.origin.startswith("ebmark.methods."):  # not an installed package's
            try:
                found.append(facts(cast(type[Method], get("method", entry.name))))
            except PluginError as error:
                wrong.append(str(error))
    if wrong:
        raise PluginError("\n".join(wrong))
    return tuple(found)


def _read(cls: type[Method]) -> Facts:
    own, module = cls.__doc__ or "", sys.modules[cls.__module__].__doc__ or ""
    text = own if "Reference:" in own else module
    sentence = _sentence(text, ".")
    reference = _REFERENCE.search(text)
    if reference is None:
        raise LookupError("the docstring has no paragraph 'Reference: Title, venue, year, https://...'")
    return Facts(
        name=cls.name,
        method=_CITATION.sub("", sentence).rstrip(" :,"),
        authors=_authors(sentence, str(cls.year)),
        year=cls.year,
        title=" ".join(reference[1].split()).rstrip(","),
        link=reference[2].rstrip(".,;"),
        cost=_cost(cls),
        minimiser=_minimiser(cls),
    )


def _authors(sentence: str, year: str) -> str:
    """The authors that the sentence cites with that year."""
    parts = [part for citation in _CITATION.findall(sentence) for part in citation.split(";")]
    cited = next((part.partition(year)[0].strip(" ,") for part in parts if year in part), "")
    names = [name for name in re.split(r",\s*|\s+and\s+|\s*&\s*", cited) if name]
    if not names:
        raise LookupError(f"the docstring's first sentence has no '(Authors, {year})'")
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _cost(cls: type[Method]) -> str:
    cost = _sentence(cls.passes.__doc__ or "", ".:;")
    if not re.search(r"\d.* F\b", cost):
        raise LookupError("the docstring of passes() does not begin with a cost, such as '6 (d + 1) F.'")
    return re.sub(r" F\b", "", cost)


def _minimiser(cls: type[Method]) -> str:
    if cls.gaussian_precision is Method.gaussian_precision:
        return "1/v"
    minimiser = _sentence(cls.gaussian_precision.__doc__ or "", ".:;")
    if not minimiser:
        raise LookupError("gaussian_precision() has no docstring, such as '1 / (v + σ²).'")
    return minimiser


def _sentence(text: str, ends: str) -> str:
    """The first sentence of a docstring on one line, without its end."""
    paragraph = " ".join(re.split(r"\n\s*\n", text.strip())[0].split())
    return re.split(rf"(?<!et al)[{ends}](?:\s|$)", paragraph, maxsplit=1)[0]


def _short(rows: Sequence[Facts]) -> Iterator[str]:
    yield "| name | method | cost in F per point | minimiser on data N(mu, v I), as a precision | reference |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield _line(row, row.cost, row.minimiser, f"[{row.authors} {row.year}]({row.link})")


def _full(rows: Sequence[Facts]) -> Iterator[str]:
    yield "| name | method | year | cost in F per point | minimiser, as a precision | authors | publication |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        publication = f"[{row.title}]({row.link})"
        yield _line(row, str(row.year), row.cost, row.minimiser, row.authors, publication)


def _line(row: Facts, *cells: str) -> str:
    return (
        "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{row.name}`", row.method, *cells)) + " |"
    )


TABLES: Mapping[str, Callable[[Sequence[Facts]], Iterator[str]]] = {
    "methods": _short,
    "methods in full": _full,
}


def filled(text: str, rows: Sequence[Facts]) -> str:
    """A page with its tables made anew.

    Raises:
        EbmarkError: the page has no place for a table.
    """
    places = [name for name in TABLES if all(mark in text for mark in marks(name))]
    if not places:
        raise EbmarkError("no table of methods; allowed: between '<!-- methods -->' and '<!-- /methods -->'")
    for name in places:
        text = between(text, name, TABLES[name](rows))
    return text


def main(arguments: Sequence[str]) -> int:
    """Compares pages with the methods, or with ``--fix`` rewrites them; returns 1 if something is wrong."""
    failed = 0
    for page in (Path(argument) for argument in arguments if argument != "--fix"):
        text = page.read_text(encoding="utf-8")
        try:
            wanted = filled(text, all_facts())
        except EbmarkError as error:
            print(error if isinstance(error, PluginError) else f"{page}: {error}", file=sys.stderr)
            return 1
        failed |= settle(page, text, wanted, "the table of methods is", fix="--fix" in arguments)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
