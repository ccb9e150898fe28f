"""``ebmark new``."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from datetime import date
from importlib import resources
from pathlib import Path

from ebmark.console import Console
from ebmark.discovery import claims
from ebmark.errors import SpecError

CHECKERS = {
    "method": ("conformance", "check"),
    "dataset": ("dataset_check", "check_dataset"),
    "metric": ("metric_check", "check_metric"),
}
COMPARES = {
    "method": "compares it with two shipped methods",
    "dataset": "trains two shipped methods on it",
    "metric": "shows it beside two shipped metrics",
}
NAME = re.compile(r"[a-z][a-z0-9_]*")


def write(console: Console, kind: str, name: str, folder: Path | None) -> None:
    """Writes a package with a plug-in that works, its entry point, its test and a study that uses it.

    Raises:
        SpecError: the name cannot be a plug-in's, is taken, or the folder exists.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SpecError(
            f"new: {name!r} given; allowed: a lower-case name of letters, digits and _, as my_{kind}"
        )
    if name in claims(kind):
        origin = claims(kind)[name][0].origin
        raise SpecError(f"new: {kind} {name!r} is taken by {origin}; give another name")
    package = f"ebmark-{name.replace('_', '-')}"
    folder = folder or Path(package)
    if folder.exists():
        raise SpecError(f"{folder}: exists; remove it, or write elsewhere with `-o DIR`")
    files = _files(kind, name, package)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        console.say(str(folder / path))
    commands = [f"cd {folder}", "pip install -e '.[test]'", f"ebmark check {name}", "ebmark run study.toml"]
    console.say("\nnext:")
    for command in commands:
        console.say(f"  {command}")
    console.document(
        {"folder": str(folder), "files": [str(folder / path) for path in files], "next": commands}
    )


def _files(kind: str, name: str, package: str) -> Mapping[str, str]:
    """The package's texts by path."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    templates = resources.files("ebmark.templates")
    checker, check = CHECKERS[kind]
    facts = {
        "kind": kind,
        "noun": "data set" if kind == "dataset" else kind,
        "name": name,
        "package": package,
        "module": f"ebmark_{name}",
        "class_name": "".join(word.capitalize() for word in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "author": "Author",
        "year": date.today().year,
        "checker": checker,
        "check": check,
        "study_says": COMPARES[kind],
    }
    made = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"ebmark_{name}.py": f"{kind}.py",
        f"tests/test_{name}.py": "test.py",
        "study.toml": "study.toml",
    }
    return {
        path: environment.from_string(
            templates.joinpath(f"{template}.jinja").read_text(encoding="utf-8")
        ).render(facts)
        for path, template in made.items()
    }
