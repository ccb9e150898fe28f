"""``ebmark new``: the package that it writes installs, is found by its name, passes its tests and trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebmark import discovery
from ebmark.cli import main
from ebmark.store import read
from ebmark.study import load

KINDS = ("method", "dataset", "metric")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A package of each kind, and where all three are installed."""
    folder = tmp_path_factory.mktemp("new")
    site = folder / "site"
    for kind in KINDS:
        run([sys.executable, "-m", "ebmark", "new", kind, f"my_{kind}"], folder)
    sources = [str(folder / f"ebmark-my-{kind}") for kind in KINDS]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, "--no-build-isolation", "--target", str(site), *sources], folder)
    return folder, site


def run(command: list[str], folder: Path, *path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, path))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ebmark(folder: Path, site: Path, *arguments: str) -> str:
    return run([sys.executable, "-m", "ebmark", *arguments], folder, site)


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(packages, kind):
    folder, site = packages
    own = folder / f"ebmark-my-{kind}"
    said = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], own, site)
    assert "2 passed" in said


def test_all_three_in_one_study(packages):
    folder, site = packages
    own = folder / "ebmark-my-metric"
    listed = json.loads(ebmark(own, site, "ls", "methods", "--json"))
    (mine,) = [entry for entry in listed if entry["name"] == "my_method"]
    assert (mine["version"], mine["broken"]) == ("0.1.0", "")
    assert mine["origin"].endswith("of ebmark-my-method")
    small = ["--steps", "2", "--seeds", "1", "--runner", "serial"]
    chosen = ["-m", "my_method", "-m", "nce", "-d", "my_dataset[dim=2]"]
    out = json.loads(ebmark(own, site, "run", "study.toml", *small, *chosen, "--json"))
    assert out["counts"] == {"ok": 2}
    assert "my_metric" in set(read(own / "results" / "my_metric").curve["metric"])


@pytest.mark.parametrize("kind", KINDS)
def test_its_study_is_one_and_holds_it(packages, kind, monkeypatch):
    folder, site = packages
    monkeypatch.syspath_prepend(str(site))
    discovery.claims.cache_clear()
    study = load(str(folder / f"ebmark-my-{kind}" / "study.toml"))
    trial = study.trials()[0]
    held = {trial.method.name, trial.dataset.name, *(metric.name for metric in trial.metrics)}
    assert f"my_{kind}" in held
    discovery.claims.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["methd", "x"], "did you mean 'method'?"),
        (["method", "My-Method"], "'My-Method' given; allowed: a lower-case name"),
        (["method", "class"], "'class' given"),
        (["method", "nce"], "method 'nce' is taken by ebmark.methods.nce"),
        (["dataset", "shell", "-o", "there"], "taken by ebmark.datasets.shell"),
        (["metric", "mine", "-o", "there"], "there: exists; remove it, or write elsewhere with `-o DIR`"),
    ],
)
def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["new", *arguments])
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
