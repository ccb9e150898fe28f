"""Imports run downwards: a module imports only from its own layer or a lower one."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"ebmark": "harness", "ebmark.methods": "methods", "ebmark.datasets": "datasets"}

# A name covers the modules below it. Layer 0 holds leaves and plain values.
LAYERS: Mapping[int, str] = {
    0: "ebmark.locations "
    "ebmark ebmark.errors ebmark.rng ebmark.record ebmark.meter ebmark.trust ebmark.trial ebmark.env "
    "ebmark.studies ebmark.sources ebmark.marked ebmark.flops ebmark.readings ebmark.recent "
    "ebmark.complete",
    1: "ebmark.activations ebmark.layers ebmark.perceptron ebmark.derivatives ebmark.api ebmark.ops "
    "ebmark.samplers ebmark.normaliser ebmark.smc ebmark.base ebmark.probe "
    "ebmark.reverse ebmark.estimate ebmark.quadrature ebmark.stiffness ebmark.floors ebmark.modules "
    "ebmark.pairs ebmark.flows ebmark.opponents ebmark.chains ebmark.noise ebmark.optimisers",
    2: "ebmark.methods ebmark.datasets ebmark.metrics ebmark.networks",
    3: "ebmark.registry ebmark.selector ebmark.discovery ebmark.files ebmark.settings ebmark.isolation",
    4: "ebmark.train ebmark.together ebmark.grouping ebmark.group ebmark.attempt ebmark.evaluate "
    "ebmark.points ebmark.picture "
    "ebmark.execute ebmark.stream ebmark.step_times ebmark.course ebmark.saves ebmark.capture ebmark.outcome "
    "ebmark.place ebmark.study ebmark.spec ebmark.specfile ebmark.plan ebmark.checker "
    "ebmark.conformance ebmark.gradient_test ebmark.rehearsal ebmark.method_page "
    "ebmark.dataset_check ebmark.metric_check ebmark.plugin_checks",
    5: "ebmark.lease ebmark.address "
    "ebmark.merging ebmark.wide ebmark.rows "
    "ebmark.runners ebmark.store ebmark.tables ebmark.parts ebmark.costlane ebmark.machines ebmark.lock "
    "ebmark.tuning ebmark.planfile ebmark.runfile ebmark.roundsfile ebmark.schema_page",
    6: "ebmark.stats ebmark.report",
    7: "ebmark.cli ebmark.verbs ebmark.commands ebmark.console ebmark.comparison ebmark.doctor "
    "ebmark.doctor_ray ebmark.findings ebmark.drive ebmark.costs ebmark.levels "
    "ebmark.predict ebmark.step_model ebmark.pilot ebmark.schedule ebmark.writer ebmark.progress "
    "ebmark.bar ebmark.showing ebmark.pace ebmark.headline ebmark.rounds ebmark.lookup ebmark.stored "
    "ebmark.fitting ebmark.fitted ebmark.given ebmark.results ebmark.notebook ebmark.measured_page "
    "ebmark.reproductions ebmark.reproduced ebmark.energy_check ebmark.__main__",
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names.split()}
PLUGINS = LAYERS[2].split()
HEAVY = ("torch", "ray")


def modules() -> dict[str, Path]:
    """Every module of the package by its import name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = modules()


def layer(module: str) -> int:
    """The layer of a module, or of the package around it."""
    name = module
    while name != "ebmark" and name not in LAYER:
        name = name.rpartition(".")[0]
    if name == "ebmark" and module != "ebmark":
        pytest.fail(f"{module} has no layer: add it to LAYERS")
    return LAYER[name]


def imports(module: str, source: str, is_package: bool) -> set[str]:
    """What ``module`` imports anywhere in its code, as modules where they are some: functions included."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                [*here[: len(here) - node.level + 1], node.module or ""]
                if node.level
                else [node.module or ""]
            )
            origin = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                found.add(inner if inner in MODULES else origin)
    return found


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """The imports of ``module`` that run upwards, one line each."""
    wrong = []
    if module == "ebmark":  # the front: what it names is imported when it is asked for, or for type checkers
        return wrong
    for target in sorted(imports(module, source, is_package)):
        top = target.split(".")[0]
        if top in ("harness", "methods", "datasets"):
            wrong.append(f"{module} imports {target}: the import name is ebmark.*")
        if top != "ebmark" or target == module:
            continue
        if layer(target) > layer(module):
            wrong.append(f"{module} (layer {layer(module)}) imports {target} (layer {layer(target)})")
        if layer(target) == layer(module) == 2 and owner(target) != owner(module):
            wrong.append(f"{module} imports {target}: a plug-in imports from layers 0 and 1")
    return wrong


def owner(module: str) -> str:
    """The plug-in package of a module."""
    return next(package for package in PLUGINS if f"{module}.".startswith(f"{package}."))


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_lower_layers(module: str):
    path = MODULES[module]
    source = path.read_text(encoding="utf-8")
    assert violations(module, source, path.name == "__init__.py") == []


def test_every_name_in_layers_exists():
    assert sorted(set(LAYER) - set(MODULES)) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("ebmark.ops", "def f():\n    from ebmark.registry import make", True),
        ("ebmark.ops", "from ebmark import registry", True),
        ("ebmark.ops", "from . import registry", True),
        ("ebmark.ops", "from .api import Energy", False),
        ("ebmark.ops", "import ebmark.registry as r", True),
        ("ebmark.registry", "from ebmark.ops import score", False),
        ("ebmark.methods.cd", "from ebmark.datasets.gaussian import Gaussian", True),
        ("ebmark.methods.cd", "from ebmark.methods.nce import NCE", False),
        ("ebmark.methods.cd", "from ebmark.registry import make", True),
        ("ebmark.registry", "import datasets", True),
        ("ebmark.registry", "from methods.cd import CD", True),
    ],
)
def test_the_check_itself_sees_what_it_must(module: str, source: str, wrong: bool):
    assert bool(violations(module, source)) == wrong


def test_a_module_without_a_layer_is_told():
    with pytest.raises(pytest.fail.Exception, match="add it to LAYERS"):
        layer("ebmark.unheard_of")


def test_the_page_for_contributors_puts_modules_where_they_are():
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.+?) \|", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == [*LAYERS]
    for number, names in rows:
        for name in re.findall(r"`(?:harness/)?(\w+)/?`", names):
            assert layer(f"ebmark.{name}") == int(number), name


def loaded_by(*names: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing ``names``."""
    code = f"import sys, {', '.join(names)}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_reading_and_reporting_need_neither_torch_nor_ray():
    light = [
        "ebmark.stats",
        "ebmark.store",
        "ebmark.env",
        "ebmark.trial",
        "ebmark.trust",
        "ebmark.schema_page",
    ]
    light += [name for name in MODULES if name.startswith("ebmark.report")]
    assert loaded_by(*light) & set(HEAVY) == set()


def test_help_is_instant():
    heavy = {*HEAVY, "pandas", "seaborn", "matplotlib", "sklearn", "scipy", "pyarrow"}
    assert loaded_by("ebmark.cli") & heavy == set()
