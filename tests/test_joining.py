"""What is settled before a cluster is used: its address, the files that travel, and what a node lacks."""

from __future__ import annotations

import dataclasses
import os
import pickle
import socket
from pathlib import Path

import pytest

from ebmark.address import must_answer, open_to_all, to_join
from ebmark.env import versions
from ebmark.errors import RunError
from ebmark.execute import harness_version
from ebmark.registry import ref
from ebmark.runners import bag, joining
from ebmark.runners.bag import examine
from ebmark.runners.joining import packed

METHOD = """
from ebmark.api import Method, method

{more}
@method("mine", year=2026)
class Mine(Method):
    def loss(self, energy, x, state, rng):
        return energy(x).mean(-1)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a method and a table of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "mine.py").write_text(METHOD.format(more=""))
    (tmp_path / "rows.csv").write_text("".join(f"{i % 7},{i % 5}\n" for i in range(60)))
    (tmp_path / "private.txt").write_text("stays here")
    bag._settle.cache_clear()
    yield tmp_path
    bag._settle.cache_clear()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://10.0.0.1:10001", "a client's address"),
        ("head", "no address"),
        ("head:", "no address"),
        ("127.0.0.1:99999", "nothing answers there"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address: str, told: str):
    with pytest.raises(RunError) as refused:
        must_answer(address)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_a_port_that_nobody_listens_on_is_told_at_once_and_is_not_called_open():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match="nothing answers there"):
            must_answer(address)
        assert open_to_all(address) is None


def test_which_cluster_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert to_join(None) is None and to_join("local") is None and to_join("head:1") == "head:1"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert to_join(None) == "auto" and to_join("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert to_join(None) is None


def test_a_token_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    for name in ("none", "empty"):
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / name))
        with pytest.raises(
            RunError, match=rf"{name} given; allowed: a file that holds a token; next: export"
        ):
            joining._must_have_token("auto")
        (tmp_path / "empty").touch()
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    with pytest.raises(RunError, match="there is no token; next: export"):
        joining._must_have_token("auto")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    joining._must_have_token("auto")


@pytest.mark.parametrize(
    ("answer", "told"),
    [(None, "does not answer as the head of a Ray cluster"), (False, "asks for its token")],
)
def test_what_is_no_head_and_what_refuses_us_is_one_line(
    answer: bool | None, told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(joining, "answers", lambda *_: answer)
    with pytest.raises(RunError) as refused:
        joining._must_let_us_in("auto", "127.0.0.1:8265")
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_another_version_of_ray_is_told_whole(monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.7\n"
        )

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr(joining, "_must_have_token", lambda _: None)
    with pytest.raises(
        RunError, match=r"cluster was started with: Ray: 2\.9\.0 Python: 3\.11\.7; next: ebmark"
    ):
        joining.join("auto", packed([]), {})


def test_only_named_files_below_the_current_folder_travel(here: Path):
    named = [ref("method", "plug/../plug/mine.py"), ref("dataset", "rows.csv"), ref("method", "dsm")]
    elsewhere = ref("dataset", str(here / "rows.csv"))
    assert set(packed([*named, elsewhere]).files) == {"plug/mine.py", "rows.csv"}
    os.chdir(here / "plug")
    assert set(packed([ref("method", "mine.py"), elsewhere]).files) == {"mine.py"}
    assert packed([ref("dataset", "../rows.csv")]).files == {}


def test_a_file_too_large_to_travel_is_told_with_its_size(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "MOST", 100)
    with pytest.raises(RunError, match=r"plug/mine.py: 0 MiB, too large .* same path on every node"):
        packed([ref("method", "plug/mine.py")])


def test_a_worker_goes_to_the_drivers_folder_only_where_its_files_are_the_same(here: Path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("node")
    ours = packed([ref("method", "plug/mine.py")])
    os.chdir(elsewhere)
    bag.settle(dataclasses.replace(ours, files={"plug/mine.py": "another"}))
    assert Path.cwd() == elsewhere
    bag.settle(ours)
    assert Path.cwd() == here


def test_a_node_says_what_it_lacks(here: Path):
    plugins = [ref("method", "plug/mine.py"), ref("dataset", "rows.csv")]
    ours = packed(plugins)
    row, wrong = examine(ours, plugins, harness_version())
    assert wrong == "" and row["host"]
    assert "another version of its code" in examine(ours, plugins, "0" * 64)[1]
    (here / "rows.csv").write_text("1,2\n" * 60)
    assert "rows.csv has changed" in examine(ours, plugins, harness_version())[1]
    (here / "plug" / "mine.py").write_text(METHOD.format(more="import no_such_module\n"))
    told = examine(ours, plugins, harness_version())[1]
    assert told == "plug/mine.py, line 4: ModuleNotFoundError: No module named 'no_such_module'"


def test_a_missing_package_and_another_torch_are_told_with_the_command_that_mends_them():
    look = joining._looker()
    ours = pickle.dumps((bag.Bag(folder="/nowhere", files={}), [], harness_version()))
    row, wrong = look(versions(), joining.EXACT, ours)
    assert row["env"] and wrong == ""
    missing = look({"no-such-package": "1.2"}, joining.EXACT, ours)[1]
    assert (
        missing.startswith("no-such-package is missing in /")
        and "pip install no-such-package==1.2" in missing
    )
    other = look({"torch": "1.0+cu99"}, joining.EXACT, ours)[1]
    assert ", the driver has 1.0+cu99; next: " in other and "pip install torch==1.0" in other
    assert look({"numpy": "1.0"}, joining.EXACT, ours)[1] == ""
