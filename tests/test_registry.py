"""Finding plug-ins, checking their settings and naming them."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys

import pytest

from ebmark import discovery, registry
from ebmark.api import Auto, Plugin
from ebmark.errors import PluginError, SpecError
from ebmark.registry import entries, get, label, make, names, ref, source_hash
from ebmark.selector import grid, parse
from ebmark.sources import code_hash

# Data sets that cannot be named before their files are there: tests/test_real_data.py makes them.
NEED_FILES = {"bsds300", "file", "gas", "hepmass", "miniboone", "mnist", "power"}

TOY = '''
"""A toy.

Reference: A. Author, A paper on toys,
Journal of Toys 1, 2001.

More text.
"""

from __future__ import annotations

from typing import Literal

from ebmark.api import Method, auto, method
from ebmark.errors import SpecError


@method("toy", year=2001)
class Toy(Method):
    """Fits nothing."""

    k: int = 1
    rate: float = 0.5
    fast: bool = False
    word: str = "x"
    mode: Literal["plain", "fancy"] = "plain"
    h: float | None = None
    scales: tuple[float, ...] = (0.5, 1.0)
    sigma: float = auto(0.05)

    def __post_init__(self):
        if self.k < 1:
            raise SpecError(f"toy.k: {self.k} given; allowed: at least 1")
        if self.k == 13:
            raise ValueError("thirteen\\nis unlucky")
'''
DATA = """
from ebmark.api import Dataset, dataset


@dataset("cube")
class Cube(Dataset):
    dim: int
    side: float = 1.0
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "cube.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lays out an installed package with entry points in the group of the methods."""

    def lay(package: str, source: str, **points: str) -> None:
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[ebmark.methods]\n{lines}")
        (tmp_path / f"{package}.py").write_text(source)
        discovery.claims.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield lay
    discovery.claims.cache_clear()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def fails(error: type[Exception], *facts: str, kind: str = "method", name: str = "toy.py", **args) -> None:
    with pytest.raises(error) as caught:
        ref(kind, name, **args)
    message = str(caught.value)
    assert "\n" not in message
    for fact in facts:
        assert fact in message


# ---------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("kind", discovery.KINDS)
def test_names_read_from_the_source_are_those_that_importing_finds(kind):
    package = importlib.import_module(f"ebmark.{kind}s")
    found = []
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        found += discovery._inside(importlib.import_module(info.name), kind)
    assert [e.name for e in entries(kind) if e.origin.startswith("ebmark.")] == sorted(found)
    assert set(found) <= set(names(kind))
    assert not [e.broken for e in entries(kind) if e.broken]


@pytest.mark.parametrize("kind", discovery.KINDS)
def test_every_built_in_is_made_from_its_own_name(kind):
    for name in sorted({*names(kind)} - NEED_FILES):
        plugin = make(ref(kind, name))
        assert plugin == get(kind, name)()
        assert label(ref(kind, name)) == name
        assert len(source_hash(ref(kind, name))) == 64


def test_every_method_has_year_and_reference():
    assert all(e.year and e.reference and e.summary for e in entries("method"))


def test_unknown_names_come_with_the_nearest_known_one():
    with pytest.raises(
        PluginError, match=r"^methods: 'dsmm': unknown method; did you mean 'dsm'\?; see ebmark ls methods$"
    ):
        get("method", "dsmm")
    with pytest.raises(PluginError, match=r"unknown network; allowed: .*mlp"):
        get("network", "zzzzzzzz")


def test_an_installed_package_brings_a_class_or_a_module(install):
    install("toys", TOY, toy="toys:Toy")
    install("more_toys", TOY.replace('"toy"', '"other"'), other="more_toys")
    assert {"toy", "other"} <= set(names("method"))
    (entry,) = (e for e in entries("method") if e.name == "toy")
    assert (entry.origin, entry.version, entry.year) == ("toys:Toy of toys", "1.2", 2001)
    assert entry.reference == "A. Author, A paper on toys, Journal of Toys 1, 2001."
    assert entry.summary == "A toy."
    assert ref("method", "other", k=2).name == "other"


def test_of_a_file_with_several_plug_ins_each_is_described_by_its_class(install):
    second = (
        TOY[TOY.index("@method") :]
        .replace('"toy"', '"second"')
        .replace("Toy", "Second")
        .replace("Fits", "Learns")
    )
    install("toys", TOY + second, toy="toys:Toy", second="toys:Second")
    found = {e.name: e.summary for e in entries("method")}
    assert (found["toy"], found["second"]) == ("Fits nothing.", "Learns nothing.")
    assert found["fd_ssm"].startswith("Finite-difference sliced score matching (Pang, ")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = (", "SyntaxError"),
        ("x = 1", "no method 'toy' inside"),
        (TOY.replace('"toy"', '"tyo"'), "no method 'toy' inside"),
    ],
)
def test_a_broken_package_is_listed_and_breaks_nothing_else(install, source, reason):
    install("toys", source, toy="toys")
    broken = [e for e in entries("method") if e.broken]
    assert [e.name for e in broken] == ["toy"]
    assert reason in broken[0].broken
    assert "\n" not in broken[0].broken
    assert ref("method", "dsm").name == "dsm"
    with pytest.raises(PluginError, match="'toy' in toys of toys is broken"):
        get("method", "toy")


def test_a_name_claimed_twice_is_an_error_that_names_both_origins(install):
    install("toys", TOY.replace('"toy"', '"dsm"'), dsm="toys:Toy")
    with pytest.raises(PluginError, match=r"'dsm': claimed by ebmark\.methods\.dsm and by toys:Toy of toys"):
        get("method", "dsm")
    assert len([e for e in entries("method") if "claimed by" in e.broken]) == 2
    assert ref("method", "sm").name == "sm"


# ------------------------------------------------------------------------------------------------------ files


def test_a_file_may_be_named_with_or_without_its_plugin(toy):
    one, two = ref("method", "./toy.py"), ref("method", "toy.py:toy")
    assert one == two
    assert one.name == "toy.py:toy"
    assert make(one) == get("method", "toy.py")()
    assert label(one) == "toy"


def test_a_changed_file_is_read_again(toy):
    before = source_hash(ref("method", "toy.py"))
    (toy / "toy.py").write_text(TOY.replace("k: int = 1", "k: int = 7"))
    assert make(ref("method", "toy.py")).k == 7
    assert source_hash(ref("method", "toy.py")) != before
    assert not (toy / "__pycache__").exists()


def test_a_variant_in_another_file_changes_with_the_file_it_inherits_from(install, tmp_path):
    install("toys", TOY, toy="toys:Toy")
    head = "from ebmark.api import method\nfrom toys import Toy\n"
    (tmp_path / "variant.py").write_text(
        f"{head}@method('variant', year=2002)\nclass V(Toy):\n    k: int = 2\n"
    )
    name = str(tmp_path / "variant.py")
    before = source_hash(ref("method", name))
    assert ref("method", name).name.endswith(":variant")
    (tmp_path / "toys.py").write_text(TOY.replace("k: int = 1", "k: int = 9"))
    assert source_hash(ref("method", name)) == before  # the code that was loaded still runs
    registry._modules_hash.cache_clear()
    assert source_hash(ref("method", name)) != before


def test_prose_does_not_change_the_version_of_code(tmp_path):
    said = ("def f(x):\n    return x\n", '"""Doc."""\n\ndef f(x):  # why\n    """What."""\n    return x\n')
    done = "def f(x):\n    return -x\n"
    hashes = []
    for text in (*said, done):
        (tmp_path / "m.py").write_text(text)
        hashes.append(code_hash([tmp_path / "m.py"]))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_file_of_a_built_in_is_the_built_in():
    path = sys.modules[get("method", "dsm").__module__].__file__
    assert path is not None
    assert ref("method", path) == ref("method", "dsm")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("x = (\n", ("bad.py, line 1", "SyntaxError", "never closed")),
        ("\n\n1 / 0\n", ("bad.py, line 3", "ZeroDivisionError")),
        ("import no_such_module\n", ("bad.py, line 1", "no_such_module")),
        ("raise SystemExit('out')\n", ("bad.py, line 1", "out")),
        ("x = 1\n", ("bad.py", "no method inside", "@method")),
        ("\0", ("bad.py", "null")),
        (DATA, ("no method inside",)),
        (
            TOY + "\n@method('other', year=1)\nclass Other(Method): ...\n",
            ("2 methods inside", "bad.py:other, bad.py:toy"),
        ),
        (
            TOY + "class Again(Toy): pass\nAgain = method('toy', year=1)(Again)\n",
            ("claimed by", "Toy", "Again"),
        ),
        (TOY.replace('"toy"', '"dsm"'), ("'dsm': claimed by bad.py and by ebmark.methods.dsm",)),
        (TOY.replace("k: int", "k: list[int]"), ("toy.k: a setting of type list[int]", "allowed: int")),
        (TOY.replace("k: int", "k: Missing"), ("a type cannot be read", "Missing")),
        (TOY.replace("(Method)", ""), ("bad.py, line", "decorates a subclass of Method")),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_where(toy, text, facts):
    (toy / "bad.py").write_text(text)
    fails(PluginError, *facts, name="bad.py")


def test_files_that_are_not_there(toy):
    (toy / "folder.py").mkdir()
    fails(PluginError, "none.py: cannot be read: No such file", name="none.py")
    fails(PluginError, "folder.py: cannot be read: Is a directory", name="folder.py")
    fails(PluginError, "cannot be read", name="nul\0.py")
    fails(PluginError, "cannot be read", name="x" * 5000 + ".py")
    fails(PluginError, "toy.py: 'tyo': unknown method; did you mean 'toy'?", name="toy.py:tyo")


# --------------------------------------------------------------------------------------------------- settings


def test_equal_settings_give_equal_refs(toy):
    standard = ref("method", "toy.py")
    given = {
        "k": 1,
        "rate": 0.5,
        "fast": False,
        "mode": "plain",
        "h": None,
        "scales": [0.5, 1],
        "sigma": "auto",
    }
    assert ref("method", "toy.py", **given) == standard
    assert ref("method", "toy.py", rate=2) == ref("method", "toy.py", rate=2.0)
    assert ref("method", "toy.py", rate=-0.0) == ref("method", "toy.py", rate=0)
    assert ref("method", "toy.py", k=2) != standard
    assert json.loads(standard.args)["sigma"] == "auto"


def test_make_undoes_ref(toy):
    cls = get("method", "toy.py")
    plugin = make(ref("method", "toy.py", k=3, h=1, scales=[2], mode="fancy", word="auto"))
    assert plugin == cls(k=3, h=1.0, scales=(2.0,), mode="fancy", word="auto")
    assert plugin.sigma == Auto(0.05)
    assert make(ref("method", "toy.py", sigma=0.1)).sigma == 0.1


def test_the_label_shows_what_differs_and_reads_back_as_a_selector(toy):
    args = {"h": 1e-5, "k": 10, "rate": 0.1234567891, "fast": True, "scales": [1, 2.5]}
    given = ref("method", "toy.py", **args)
    assert label(given) == "toy[k=10,rate=0.1234567891,fast=true,h=1e-05,scales=[[1,2.5]]]"
    (point,) = grid("", parse(label(given))[1])
    assert ref("method", "toy.py", **point) == given


def test_the_label_of_a_data_set_leaves_its_dimension_out(toy):
    assert label(ref("dataset", "cube.py", dim=3)) == "cube"
    assert label(ref("dataset", "cube.py", dim=3, side=2)) == "cube[side=2]"


@pytest.mark.parametrize(
    ("args", "facts"),
    [
        ({"kk": 1}, ("methods: toy.kk: unknown setting; did you mean 'k'?",)),
        ({"zzzz": 1}, ("unknown setting; allowed: fast, h, k, mode",)),
        ({"year": 1}, ("methods: toy.year: unknown setting",)),
        ({"k": 1.0}, ("methods: toy.k: 1.0 given; allowed: a whole number",)),
        ({"k": True}, ("True given; allowed: a whole number",)),
        ({"k": "auto"}, ("'auto' given; allowed: a whole number",)),
        ({"k": 2**63}, ("allowed: a whole number",)),
        ({"k": None}, ("None given",)),
        ({"k": [1]}, ("[1] given",)),
        ({"k": 0}, ("toy.k: 0 given; allowed: at least 1",)),
        ({"k": 13}, ("methods: toy: refuses its settings: ValueError: thirteen is unlucky",)),
        ({"rate": float("nan")}, ("nan given; allowed: a number",)),
        ({"rate": float("inf")}, ("inf given",)),
        ({"rate": 10**400}, ("allowed: a number",)),
        ({"rate": "1"}, ("'1' given; allowed: a number",)),
        ({"rate": False}, ("False given",)),
        ({"fast": 1}, ("1 given; allowed: true or false",)),
        ({"word": 1}, ("allowed: text",)),
        ({"mode": "c"}, ("'c' given; allowed: 'plain' or 'fancy'",)),
        ({"sigma": "much"}, ("'much' given; allowed: a number or 'auto'",)),
        ({"scales": 1.0}, ("toy.scales: 1.0 given; allowed: [[...]], a list",)),
        ({"scales": []}, ("[] given",)),
        ({"scales": ["x"]}, ("['x'] given",)),
    ],
)
def test_a_setting_that_is_refused(toy, args, facts):
    fails(SpecError, *facts, **args)


def test_a_setting_without_a_default_must_be_given(toy):
    fails(SpecError, "datasets: cube.dim: missing; allowed: a whole number", kind="dataset", name="cube.py")


def test_a_stored_ref_that_no_longer_fits_is_refused_in_one_line(toy):
    old = ref("method", "toy.py")
    (toy / "toy.py").write_text(TOY.replace("fast: bool = False", ""))
    with pytest.raises(SpecError, match=r"toy\.fast: unknown setting"):
        make(old)


def test_plugin_classes_are_what_the_kinds_say():
    for kind, base in discovery.KINDS.items():
        assert issubclass(base, Plugin)
        assert base.kind == kind
        assert all(issubclass(registry.get(kind, name), base) for name in names(kind))
