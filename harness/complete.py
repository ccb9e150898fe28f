"""What the shell offers after the tab key: names and ids, found without importing what they name."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ebmark.locations import holds_results

RESULTS = Path("results")
MOST_IDS = 50  # a shell asks before it shows more


def names(kind: str) -> list[str]:
    """The built-in and installed plug-ins of a kind: method, dataset, metric or network."""
    from importlib import metadata, resources  # only the tab key needs them

    mark = re.compile(rf'^@(?:\w+\.)?{kind}\(\s*"([^"]+)"', re.MULTILINE)
    files = [file for file in resources.files(f"ebmark.{kind}s").iterdir() if file.name.endswith(".py")]
    built_in = {name for file in files for name in mark.findall(file.read_text(encoding="utf-8"))}
    return sorted(built_in | {point.name for point in metadata.entry_points(group=f"ebmark.{kind}s")})


def studies() -> list[str]:
    """The shipped studies."""
    from importlib import resources

    files = resources.files("ebmark.studies").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def folders() -> list[str]:
    """The results folders below ``results``, the newest first."""
    found = [path for path in RESULTS.glob("*") if holds_results(path)]
    return [str(path) for path in sorted(found, key=lambda path: -(path / "trials").stat().st_mtime)]


def ids(folder: Path | None) -> list[str]:
    """The trials of a folder's last plan; of the newest folder where none is given."""
    place = folder or next(map(Path, folders()), RESULTS)
    try:
        return [*json.loads((place / "plan.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return []


def study(incomplete: str) -> list[str]:
    """For an argument SPEC: shipped studies, and files of one's own."""
    return [*_beginning(studies(), incomplete), *sorted(glob.glob(f"{glob.escape(incomplete)}*.toml"))]


def folder(incomplete: str) -> list[str]:
    """For an argument DIR."""
    return _beginning(folders(), incomplete)


def method(incomplete: str) -> list[str]:
    """For ``--method``."""
    return _beginning(names("method"), incomplete)


def dataset(incomplete: str) -> list[str]:
    """For ``--dataset``."""
    return _beginning(names("dataset"), incomplete)


def plugin(incomplete: str) -> list[str]:
    """For ``ebmark check``."""
    kinds = ("method", "dataset", "metric")
    return _beginning((name for kind in kinds for name in names(kind)), incomplete)


def trial(ctx: Any, incomplete: str) -> list[str]:
    """For an id: of the folder that the command line names, else of the newest."""
    return _beginning(ids(ctx.params.get("output") or ctx.params.get("folder")), incomplete)[:MOST_IDS]


def words(*allowed: str) -> Any:
    """For an option that takes one of a few words."""
    return lambda incomplete: _beginning(allowed, incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
