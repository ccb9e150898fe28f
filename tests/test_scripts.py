"""The scripts parse, agree with each other and with pyproject.toml, and name no package registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path
    for folder in ("scripts", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash\n")
)
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
    )
]


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)


def canonical(requirement: str) -> str:
    """The package's name as registries compare it: `Foo_Bar[x]>=1` -> `foo-bar`."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def repository_files() -> list[Path]:
    """Every file that git tracks or would track; outside a git checkout there is nothing to look through."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A copy of the scripts, in a folder with a space, whose `.venv` carries a current stamp and no pip."""
    root = tmp_path / "with space"
    (root / ".venv" / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copy(ROOT / "pyproject.toml", root)
    python = root / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "python $*" >>"$(dirname "$0")/calls"\n')
    python.chmod(0o755)
    (root / ".venv" / "pyvenv.cfg").write_text(f"command = python3 -m venv {root}/.venv\n")
    assert run(root / "scripts" / "setup").returncode == 0
    (python.parent / "calls").unlink()
    return root


def calls(root: Path) -> list[str]:
    record = root / ".venv" / "bin" / "calls"
    return record.read_text().splitlines() if record.exists() else []


def test_every_script_is_there():
    expected = {"setup", "demo", "test", "check", "bench", "run"}
    assert expected <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_script_parses_and_may_be_executed(script):
    assert os.access(script, os.X_OK)
    done = run("bash", "-n", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_ci_runs_what_a_developer_runs():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    assert commands[-1] == 'exec "$(dirname "${BASH_SOURCE[0]}")/../scripts/test" "$@"'


def test_every_declared_package_is_pinned():
    declared = [*project()["dependencies"], *project()["optional-dependencies"]["dev"]]
    assert {canonical(requirement) for requirement in declared} - pins().keys() == set()


def test_pins_are_plain_versions():
    """A local build tag, or a folder of some machine, would make the pin impossible elsewhere."""
    plain = re.compile(r"[\d.]+(\.post\d+)?")
    assert [name for name, version in pins().items() if not plain.fullmatch(version)] == []


def test_no_file_names_a_package_registry():
    hosts = re.compile("|".join(map(re.escape, REGISTRIES)).encode())
    assert [str(path) for path in repository_files() if hosts.search(path.read_bytes())] == []


def test_setup_does_nothing_when_current(ready):
    start = time.perf_counter()
    done = run(ready / "scripts" / "setup", cwd=Path("/"))
    assert time.perf_counter() - start < 2
    assert (done.returncode, done.stdout, done.stderr, calls(ready)) == (0, "", "", [])


@pytest.mark.parametrize("changed", ["pyproject.toml", "scripts/constraints.txt", ".venv/ebmark-setup"])
def test_setup_installs_again_after_a_change(ready, changed):
    with (ready / changed).open("a") as file:
        file.write("# changed\n")
    assert run(ready / "scripts" / "setup").returncode == 0
    assert sum(call.startswith("python -m pip install") for call in calls(ready)) == 1


def test_setup_leaves_no_stamp_when_the_installation_fails(ready):
    (ready / "pyproject.toml").write_text("changed")
    python = ready / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\n[ "$3" = --version ]\n')
    assert run(ready / "scripts" / "setup").returncode == 1
    python.write_text('#!/bin/sh\necho "python $*" >>"$(dirname "$0")/calls"\n')
    assert run(ready / "scripts" / "setup").returncode == 0
    assert any(call.startswith("python -m pip install") for call in calls(ready))


def test_setup_says_in_one_line_that_no_python_was_found(ready, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\n')
    (tools / "python3").chmod(0o755)
    shutil.rmtree(ready / ".venv")
    done = run("env", f"PATH={tools}", "bash", ready / "scripts" / "setup")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "setup: no usable Python on PATH: got Python 3.8.1, allowed: 3.11 or later, with ensurepip"
    ]


def test_test_passes_its_arguments_on(ready):
    assert run(ready / "scripts" / "test", "tests/test_x.py", "-k", "a and b").returncode == 0
    assert calls(ready) == ["python -m pytest tests/test_x.py -k a and b"]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 0), (130, 130)])
def test_demo_reports_when_some_trials_failed(ready, code, expected):
    python = ready / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$3" >>"$(dirname "$0")/calls"\n[ "$3" != run ] || exit {code}\n')
    done = run(ready / "scripts" / "demo")
    assert done.returncode == expected
    assert calls(ready) == (["run", "report"] if expected == 0 else ["run"])


def test_bench_lists_and_refuses():
    bench = ROOT / "scripts" / "bench"
    listed = run(bench).stdout.splitlines()
    assert "start" in [line.split()[0] for line in listed]
    assert all(len(line.split()) > 1 for line in listed)
    refused = run(bench, "nothing")
    assert refused.returncode == 1
    assert refused.stderr.startswith("bench: unknown benchmark 'nothing'; allowed: ")


def test_check_refuses_an_unknown_argument(ready):
    done = run(ready / "scripts" / "check", "--fxi")
    assert (done.returncode, done.stderr) == (1, "check: unknown arguments '--fxi'; allowed: --fix\n")
