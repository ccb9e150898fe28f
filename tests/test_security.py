"""What a run reads runs no code, what it writes holds no secret, and only what the user names is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ebmark.store import read
from tests.study_text import study_text

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[1]
SPEC = study_text(methods={"dsm": {}}, metrics=["fisher", "mmd"])
# Runs verbs one after the other; whatever is unpickled meanwhile is said.
WATCHED = """
import json, pickle, sys

seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith("pickle.") else None)
pickle.loads(pickle.dumps(len))
assert seen, "the hook sees nothing"
from ebmark.cli import main

for arguments in json.loads(sys.argv[1]):
    seen.clear()
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    assert not seen, (arguments, seen)
"""
SECRETS = {
    "RAY_AUTH_TOKEN": "5ec2e7a0ray",
    "AWS_ACCESS_KEY_ID": "5ec2e7a1aws",
    "AWS_SECRET_ACCESS_KEY": "5ec2e7a2aws",
    "AWS_SESSION_TOKEN": "5ec2e7a3aws",
    "HF_TOKEN": "5ec2e7a4hub",
    "OMP_PLACES": "5ec2e7a5omp",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a folder full of files with the names of modules, its environment full of secrets."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "study").mkdir()
    (folder / "study" / "small.toml").write_text(SPEC)
    trap = f"open({str(folder / 'sprung')!r}, 'a').write(__file__); raise ImportError('nobody named it')"
    names = ("torch", "numpy", "pandas", "pyarrow", "scipy", "ray", "typer", "zuko", "datasets", "methods")
    for name in (*names, "dsm", "gaussian", "conftest", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(trap)
        (folder / "study" / f"{name}.py").write_text(trap)
    done = subprocess.run(
        [Path(sys.executable).parent / "ebmark", "run", "study/small.toml", "-o", "out"],
        cwd=folder,
        env={**os.environ, **SECRETS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    return folder


def test_a_file_that_nobody_named_is_not_imported_neither_here_nor_in_a_worker(results: Path):
    assert not (results / "sprung").exists()


def test_no_secret_is_in_a_table_a_log_or_any_other_file(results: Path):
    secrets = (*SECRETS.values(), Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text())
    files = [path for path in (results / "out").rglob("*") if path.is_file()]
    assert len(files) >= 5
    tables = read(results / "out")
    shown = [frame.to_csv() for frame in (tables.trials, tables.curve, tables.env)]
    for text in [path.read_bytes().decode("latin-1") for path in files] + shown:
        assert not [secret for secret in secrets if secret in text]


def test_nothing_is_unpickled_from_a_results_folder_or_a_spec(results: Path):
    id = read(results / "out").trials["id"].iloc[0]
    verbs = (
        ["status", "out"],
        ["show", id, "out"],
        ["compare", "out", "out"],
        ["report", "out"],
        ["run", "study/small.toml", "-o", "out"],
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCHED, json.dumps(verbs)],
        cwd=results,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
