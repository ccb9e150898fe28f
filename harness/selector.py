"""Selectors, ``cd[k=[1,10],sampler=ula]``: a plug-in with a grid of settings, in benchopt's grammar.

::

    selector = name [ "[" setting { "," setting } "]" ]
    setting  = word "=" ( value | list )
    list     = "[" [ ( value | list ) { "," ( value | list ) } ] "]"
    value    = number | true | false | word | "quoted" | 'quoted'

The name may be a file, ``path/my_method.py:name[k=3]``. A list is a grid; a setting that is itself a
list stands inside one, ``mine[scales=[[0.5,1,2]]]``, and nothing is nested deeper.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from ebmark.errors import SpecError

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    |(?P<quoted>"[^"]*"|'[^']*')
    |(?P<word>[A-Za-z_][\w./:-]*)
    |(?P<mark>[][=,])
    |(?P<end>\Z))""",
    re.VERBOSE | re.ASCII,
)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings of a selector; a list is a grid.

    Raises:
        SpecError: with the position (from 1) of the first character that does not fit.
    """
    parser = _Parser(text)
    settings = parser.settings()
    name = text[: parser.start].strip()
    if not name:
        raise SpecError(f"selector {text!r}: no name; allowed: a name, or name[setting=value]")
    return name, settings


def grid(where: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of ``settings``, the last varying fastest; a value that is a list is a grid.

    Args:
        where: of the plug-in, for the message, e.g. ``methods: cd``.
        settings: a value or a list of values by name.

    Raises:
        SpecError: a list is empty.
    """
    axes = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    for name, axis in axes.items():
        if not axis:
            raise SpecError(f"{where}.{name}: an empty list given; allowed: a value or a list of values")
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = text.find("[") if "[" in text else len(text)
        self.at = self.next = self.start
        self.kind = self.token = ""
        self._advance()

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.kind == "end":
            return found
        self._expect("[")
        while not found or self._accept(","):
            name = self.token
            if self.kind != "word" or name == "name":  # the plug-in's own
                self._fail("the name of a setting")
            if name in found:
                self._fail("each setting once")
            self._advance()
            self._expect("=")
            found[name] = self._list(depth=2) if self.token == "[" else self._value()
        self._expect("]")
        if self.kind != "end":
            self._fail("the end")
        return found

    def _list(self, depth: int) -> list[Any]:
        self._expect("[")
        found: list[Any] = []
        while self.token != "]" and (not found or self._accept(",")):
            found.append(self._list(depth - 1) if self.token == "[" and depth > 1 else self._value())
        self._expect("]")
        return found

    def _value(self) -> Any:
        value: Any = None
        match self.kind:
            case "number":
                value = self._number()
            case "quoted":
                value = self.token[1:-1]
            case "word":
                value = {"true": True, "false": False}.get(self.token, self.token)
            case _:
                self._fail("a number, true, false, a word or a list of them")
        self._advance()
        return value

    def _number(self) -> int | float:
        try:
            return int(self.token)
        except ValueError:  # a fraction, an exponent, or more digits than Python reads as an integer
            return float(self.token)

    def _advance(self) -> None:
        match = _TOKEN.match(self.text, self.next)
        if match is None:
            self.at = self.next + len(self.text[self.next :]) - len(self.text[self.next :].lstrip())
            self.kind, self.token = "unknown", self.text[self.at]
            return
        self.kind = match.lastgroup or ""
        self.token, self.at, self.next = match[self.kind], match.start(self.kind), match.end()

    def _accept(self, mark: str) -> bool:
        if self.kind != "mark" or self.token != mark:
            return False
        self._advance()
        return True

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            self._fail(repr(mark))

    def _fail(self, allowed: str) -> None:
        given = repr(self.token) if self.token else "the end"
        raise SpecError(f"selector {self.text!r}: position {self.at + 1}: {given} given; allowed: {allowed}")
