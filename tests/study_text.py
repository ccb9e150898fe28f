"""The text of a small study file: one network and data set, and no more work than a test needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def study_text(
    name: str = "small",
    *,
    methods: Mapping[str, Mapping[str, object]],
    dim: int | Sequence[int] = 2,
    seeds: int = 1,
    metrics: Sequence[str] = ("fisher",),
    steps: int = 3,
    batch: int = 16,
    checkpoints: int = 1,
    pictures: bool = True,
) -> str:
    """A quadratic energy on Gaussian data; ``methods`` are settings by name. Other tables can be appended."""
    entries = "".join(f"[[methods]]\n{_lines({'name': method, **own})}" for method, own in methods.items())
    top = {"name": name, "seeds": seeds, "metrics": list(metrics), "pictures": pictures}
    budget = {"steps": steps, "batch": batch, "checkpoints": checkpoints}
    return (
        f'{_lines(top)}[budget]\n{_lines(budget)}[network]\nname = "quadratic"\n{entries}'
        f'[[datasets]]\nname = "gaussian"\ndim = {json.dumps(dim)}\n'
    )


def _lines(table: Mapping[str, object]) -> str:
    """The keys of a table; JSON's values are TOML's, too."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
