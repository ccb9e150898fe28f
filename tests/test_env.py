"""The environment is described on every machine, and its id is a function of the description alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ebmark import env
from ebmark.parts import to_arrow
from ebmark.record import ENV


@pytest.fixture(autouse=True)
def nothing_remembered():
    cached = (env.versions, env.git_state, env._driver_gpus, env._driver, env._cpu)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_description_is_a_row_of_the_table():
    values = env.describe()
    assert list(values) == list(ENV)
    assert to_arrow("env", [values]).to_pylist() == [values]
    assert values["cores"] == len(os.sched_getaffinity(0))
    assert values["python"] == ".".join(map(str, sys.version_info[:3]))
    assert values["memory"] > 2**28
    assert set(json.loads(values["versions"])) == set(env.PACKAGES)


def test_id_is_a_function_of_the_other_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    first = env.describe()
    assert env.describe() == first
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    second = env.describe()
    assert second["env"] != first["env"]
    assert json.loads(second["threads"])["OMP_NUM_THREADS"] == "3"
    assert {name for name in ENV if first[name] != second[name]} == {"env", "threads"}


def test_host_is_hashed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(env, "machine", env.machine.__wrapped__)  # kept from one call to the next
    monkeypatch.setattr(env.platform, "node", lambda: "secret-host")
    values = env.describe()
    assert "secret-host" not in json.dumps(values)
    assert len(values["host"]) == 16
    monkeypatch.setattr(env.platform, "node", lambda: "other-host")
    assert env.describe()["host"] != values["host"]


def test_absent_packages_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(env, "PACKAGES", ("numpy", "no-such-package"))
    assert list(env.versions()) == ["numpy"]


def test_without_programs_and_proc_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def absent(*args: object) -> None:
        raise OSError

    env.versions()  # reads files, too
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(env.Path, "read_text", absent)
    monkeypatch.setattr(env.os, "sysconf", absent)
    values = env.describe()
    assert (values["gpu"], values["driver"], values["commit"], values["dirty"]) == ("", "", "", False)
    assert values["memory"] is None and values["cpu"]


def test_accelerators_are_those_of_the_driver_until_torch_uses_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    program(
        tmp_path,
        "nvidia-smi",
        'case "$1" in *name) echo "GPU A"; echo "GPU B";; *) echo 550.1; echo 550.1;; esac',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cuda = types.SimpleNamespace(
        is_initialized=lambda: False, device_count=lambda: 1, get_device_name=lambda i: f"GPU {i}"
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    values = env.describe()
    assert (values["gpu"], values["driver"]) == ("GPU A; GPU B", "550.1")
    cuda.is_initialized = lambda: True
    assert env.describe()["gpu"] == "GPU 0"


@pytest.mark.parametrize("script", ["exit 1", "echo broken; exit 9", "printf '\\377'", "sleep 20"])
def test_a_sick_driver_is_no_accelerator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str):
    program(tmp_path, "nvidia-smi", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(env, "_SECONDS", 0.5)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert env.gpus() == []


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commit_is_that_of_the_checkout_and_of_nobody_else(tmp_path: Path):
    harness, installed = tmp_path / "harness", tmp_path / "lib" / "ebmark"
    for folder in (harness, installed):
        folder.mkdir(parents=True)
        (folder / "a.py").write_text("")
    assert env.git_state(harness) == ("", False), "no repository"
    git(tmp_path, "init", "-q")
    env.git_state.cache_clear()
    assert env.git_state(harness) == ("", False), "no commit"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    env.git_state.cache_clear()
    assert env.git_state(harness) == (head, False)
    assert env.git_state(installed) == ("", False), "an installed copy inside somebody's repository"
    (harness / "new.py").write_text("")
    env.git_state.cache_clear()
    assert env.git_state(harness) == (head, True), "a new file changes what runs"
