"""Figures inside the page: SVG whose ink, grid and series follow the page's colours, small and with an alt.

Matplotlib writes colours as hexadecimal numbers; in the page each becomes a variable of ``style.css``, so
that one drawing is legible in light and in dark. Numbers lose what no screen shows.
"""

from __future__ import annotations

import re
from html import escape

# Colour of a figure file -> variable of the style sheet.
COLOURS = {
    "#000000": "ink", "#262626": "ink", "#595959": "axis", "#666666": "axis", "#808080": "axis",
    "#e6e6e6": "grid", "#0173b2": "s0", "#de8f05": "s1", "#029e73": "s2", "#d55e00": "s3",
    "#cc78bc": "s4", "#56b4e9": "s5", "#949494": "s6", "#ca9161": "s7",
}  # fmt: skip
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", re.DOTALL)
_REFERENCE = re.compile(r'(?:xlink:href="#|url\(#)([\w-]+)')
_ID = re.compile(r' id="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_TAG = re.compile(r"<[^>]*>")
_SIZE = re.compile(r' (?:width|height)="[\d.]+pt"')
_FONT = re.compile(r"font: ([\w. ]*?[\d.]+px) [^;\"]*")


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def inline(content: bytes, prefix: str, alt: str) -> str:
    """An SVG file as an element of a page.

    Args:
        content: the file.
        prefix: begins its identifiers, so that figures of one page do not share them.
        alt: what the figure shows, in words.

    Returns:
        The element, without what only a file needs.
    """
    text = content.decode()
    text = _DROPPED.sub("", text[text.index("<svg") :])
    names = {name: f"{prefix}{i}" for i, name in enumerate(dict.fromkeys(_REFERENCE.findall(text)))}
    text = _ID.sub(lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", text)
    for name, short in names.items():
        text = text.replace(f'"#{name}"', f'"#{short}"').replace(f"url(#{name})", f"url(#{short})")
    text = _TAG.sub(lambda tag: _LONG.sub(_short, tag[0]), text)
    text = text.replace("fill: #ffffff", "fill: none")
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = _FONT.sub(r"font: \1 var(--figure-type)", text).replace("xlink:href", "href")
    text = re.sub(r"\s+", " ", text).replace("> <", "><")
    head, rest = text.split(">", 1)
    head = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", _SIZE.sub("", head))
    return f'{head} role="img" aria-label="{escape(alt, quote=True)}">{rest}'
