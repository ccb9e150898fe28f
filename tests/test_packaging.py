"""The wheel holds what the tree holds, works from any folder and lives beside another `datasets` package."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"ebmark": "harness", "ebmark.methods": "methods", "ebmark.datasets": "datasets"}
PROBE = """
import importlib, pathlib, pkgutil, tomllib
from importlib import metadata, resources
import ebmark, ebmark.datasets, ebmark.methods
for package in (ebmark, ebmark.datasets, ebmark.methods):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.util.find_spec(found.name)
import ebmark.record, ebmark.store, ebmark.datasets.gaussian, ebmark.methods.dsm
print("FILE", ebmark.__file__)
print("VERSION", metadata.version("ebmark"))
files = [path.name for path in resources.files("ebmark.studies").iterdir()]
studies = sorted(name for name in files if name.endswith(".toml"))
for name in studies:
    tomllib.loads(resources.files("ebmark.studies").joinpath(name).read_text(encoding="utf-8"))
print("STUDIES", *studies)
"""
PROBE_BESIDE = """
import datasets, ebmark.datasets
print("THEIRS", datasets.__file__)
print("OURS", ebmark.datasets.__file__)
"""


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def packages_of_the_tree() -> dict[str, str]:
    """Import name -> folder of every folder that holds an __init__.py."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("__init__.py")):
            parts = path.parent.relative_to(ROOT / folder).parts
            found[".".join([package, *parts])] = path.parent.relative_to(ROOT).as_posix()
    return found


def python(code: str, folder: Path, *path: Path) -> dict[str, list[str]]:
    """Runs ``code`` from ``folder``; what it prints, by the first word of each line."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, path)), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that nothing is left in the tree."""
    copy = tmp_path_factory.mktemp("source")
    for name in (*FOLDERS.values(), "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    offline = importlib.util.find_spec("setuptools") is not None
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "-w",
        str(copy / "dist"),
        str(copy),
    ]
    if offline:
        command.append("--no-build-isolation")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and not offline:
        pytest.skip(f"setuptools is absent and pip cannot fetch it: {done.stderr.strip().splitlines()[-1:]}")
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--target",
        str(target),
    ]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_packages_in_pyproject_are_those_of_the_tree():
    listed, tree = settings(), packages_of_the_tree()
    assert sorted(listed["packages"]) == sorted(tree)
    assert {name: listed["package-dir"][name] for name in tree} == tree


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(wheel: Path):
    data = settings()["package-data"]
    expected = set()
    for package, folder in packages_of_the_tree().items():
        patterns = ("*.py", *data.get(package, ()))
        files = [path for path in (ROOT / folder).iterdir() if path.is_file()]
        left_out = [
            path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)
        ]
        assert left_out == [], f"{folder}: neither code nor package data"
        expected |= {f"{package.replace('.', '/')}/{path.name}" for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "ebmark = ebmark.__main__:main" in archive.read(entry).decode()
    assert names == expected
    assert {name.split("/")[0] for name in names} == {"ebmark"}, "nothing called `datasets` is ever installed"


def test_wheel_works_from_another_folder(installed: Path, tmp_path: Path):
    found = python(PROBE, tmp_path, installed)
    assert Path(found["FILE"][0]) == installed / "ebmark" / "__init__.py", "not the editable install"
    assert "quickstart.toml" in found["STUDIES"]


def test_editable_install_works_from_another_folder(tmp_path: Path):
    found = python(PROBE, tmp_path)
    if Path(found["FILE"][0]) != ROOT / "harness" / "__init__.py":
        pytest.skip("this interpreter has no editable install of the tree")
    assert "quickstart.toml" in found["STUDIES"]


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_called_datasets_lives_beside(installed: Path, tmp_path: Path, editable: bool):
    theirs = tmp_path / "site"
    (theirs / "datasets").mkdir(parents=True)
    (theirs / "datasets" / "__init__.py").write_text('__version__ = "4.0"\n')
    found = python(PROBE_BESIDE, tmp_path, theirs, *([] if editable else [installed]))
    assert Path(found["THEIRS"][0]) == theirs / "datasets" / "__init__.py"
    assert Path(found["OURS"][0]) != Path(found["THEIRS"][0])


def test_the_real_datasets_package_lives_beside_where_it_is_installed(installed: Path, tmp_path: Path):
    probe = "from importlib.metadata import version; print('HUB', version('datasets'))"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("Hugging Face datasets is not installed")
    found = python(PROBE_BESIDE, tmp_path, installed)
    assert "site-packages" in found["THEIRS"][0]
    assert Path(found["OURS"][0]) == installed / "ebmark" / "datasets" / "__init__.py"
