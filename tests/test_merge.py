"""Folders become one without a trial lost or doubled, and clocks of different runs stay apart."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ebmark import store
from ebmark.cli import main
from ebmark.costlane import CostLane, read_lane, write_lane
from ebmark.parts import part_paths
from ebmark.planfile import read_plan, write_plan
from ebmark.record import SCHEMA, Record
from ebmark.store import Store
from tests.test_store import START, assert_whole, record


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def timed(id: str, seconds: float, *, env: str = "e", attempt: int = 1) -> Record:
    """A measurement of the cost lane."""
    made = record(id, attempt, env=env)
    return replace(made, trial={**made.trial, "lane": "cost", "trusted": True, "step_seconds": seconds})


def later(made: Record, days: int = 1, **more: Any) -> Record:
    """The same trial, ended later."""
    return replace(made, trial={**made.trial, "finished": START + timedelta(days=days), **more})


def written(name: str, *records: Record, spec: str = "", plan: Mapping[str, float] | None = None) -> Path:
    folder = Path(name)
    with Store(folder) as writer:
        for each in records:
            writer.append([each])
        if spec:
            writer.write_spec(spec)
    if plan:
        write_plan(folder, plan)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return json.loads(out), err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    message = capsys.readouterr().err.strip()
    assert ended.value.code == 1 and "\n" not in message
    return message


# --- merge -----------------------------------------------------------------------------------------------


def test_every_trial_is_there_once_with_what_belongs_to_it(capsys):
    written("a", record("x"), record("y", env="f"), plan={"x": 1.0, "y": 2.0, "z": 3.0})
    written("b", record("y", env="f"), record("z", env="g"), plan={"z": 4.0, "w": 5.0})
    written("c", record("u"))
    told, _ = call(capsys, "merge", "a", "b", "c", "-o", "all")
    out = Path("all")
    assert_whole(out, set("xyzu"))
    assert sorted(store.read(out).env["env"]) == ["e", "f", "g"], "the rows keep their machines"
    assert list(read_plan(out).items()) == [("x", 1.0), ("y", 2.0), ("z", 3.0), ("w", 5.0)]
    assert (told["trials"], told["doubles"], told["unequal"], told["files"]) == (4, 1, 0, 8)
    assert sum(told["from"].values()) == 4


def test_of_a_double_the_newest_that_is_ok_is_taken_with_its_own_curve(capsys):
    ok, failed = record("x", steps=2), later(record("x", 5, status="crashed", files=False), days=3)
    written("a", ok, record("y", 1))
    written("b", failed, later(record("y", 1, steps=5)))
    told, _ = call(capsys, "merge", "a", "b", "-o", "all")
    found = store.read(Path("all"))
    rows = found.trials.set_index("id")
    assert rows.loc["x", "status"] == "ok" and rows.loc["x", "attempt"] == 1
    assert found.curve.groupby("id")["step"].max().to_dict() == {"x": 1, "y": 4}
    assert store.read_model(Path("all"), "x") is not None, "files come from the folder of the row"
    assert told["doubles"] == 2
    assert told["from"] == {"a": 1, "b": 1}


def test_doubles_that_ended_well_with_other_values_are_counted(capsys):
    made = record("x")
    other = replace(made, curve=tuple({**row, "value": row["value"] + 1e-9} for row in made.curve))
    written("a", made, record("y"), record("z", status="diverged"))
    written("b", later(other), record("y"), later(replace(other, trial={**other.trial, "id": "z"})))
    told, err = call(capsys, "merge", "a", "b", "-o", "all")
    assert (told["doubles"], told["unequal"]) == (3, 1)
    assert "1 of them had ended well with other values" in err


def test_the_clock_of_one_run_is_kept_and_the_others_are_marked(capsys):
    written("a", record("q"), timed("t1", 1.0, env="e"))
    written("b", record("r"), timed("t1", 8.0, env="f"), timed("t2", 9.0, env="f"))
    written("c", timed("t3", 0.1, env="e"))
    told, err = call(capsys, "merge", "a", "b", "c", "-o", "all")
    trials = store.read(Path("all")).trials.set_index("id")
    lane = trials[trials["lane"] == "cost"]
    assert lane["step_seconds"].to_dict() == {"t1": 8.0, "t2": 9.0, "t3": 0.1}, "b has most of the lane"
    assert lane["trusted"].to_dict() == {"t1": True, "t2": True, "t3": False}
    assert set(lane.loc[lane["trusted"], "env"]) == {"f"}, "no two kinds of machine are compared"
    assert read_lane(Path("all")).outdated == {"t3": 1}, "on its kind of machine too it would be another run"
    assert told["foreign"] == 1 and "do not compare" in err
    assert {"q", "r"} <= set(trials.index)


def test_what_was_out_of_date_stays_so(capsys):
    a = written("a", timed("t1", 1.0), timed("t2", 1.0))
    write_lane(a, CostLane(planned=frozenset({"t1", "t2"}), outdated={"t1": 1}))
    written("b", record("q"))
    call(capsys, "merge", "a", "b", "-o", "all")
    assert read_lane(Path("all")).outdated == {"t1": 1}
    trials = store.read(Path("all")).trials.set_index("id")
    assert not trials.loc["t1", "trusted"] and trials.loc["t2", "trusted"]


def test_different_study_files_are_told_and_the_first_is_kept(capsys):
    written("a", record("x"), spec='name = "a"\n')
    written("b", record("y"), spec='name = "b"\n')
    told, err = call(capsys, "merge", "a", "b", "-o", "all")
    assert Path("all/spec.toml").read_text() == 'name = "a"\n'
    assert told["specs"] == 2 and "2 different study files" in err


def test_what_cannot_be_merged_is_one_line(capsys):
    written("a", record("x"))
    written("b", record("y"))
    assert "two or more" in refused(capsys, "merge", "a", "-o", "all")
    assert "holds results already" in refused(capsys, "merge", "a", "b", "-o", "a")
    assert "no such folder" in refused(capsys, "merge", "a", "absent", "-o", "all")
    Path("b/spec.toml").write_bytes(b"\xff")
    assert "spec.toml: damaged" in refused(capsys, "merge", "a", "b", "-o", "all")
    assert not Path("all").exists(), "nothing is begun before everything was read"


def test_a_merge_that_was_cut_short_is_given_again(capsys, monkeypatch):
    written("a", record("x"))
    written("b", record("y"))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            main(["merge", "a", "b", "-o", "all"])
    capsys.readouterr()
    call(capsys, "merge", "a", "b", "-o", "all")
    assert_whole(Path("all"), {"x", "y"})


def test_a_disk_that_is_full_at_any_moment_of_a_merge_costs_nothing(capsys, monkeypatch):
    written("a", record("x"), spec='name = "a"\n')
    written("b", record("y"))
    replace_file, calls = os.replace, [0]

    def full(*names: Any) -> None:
        calls[0] -= 1
        if calls[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(*names)

    monkeypatch.setattr("ebmark.parts.os.replace", full)
    for number in (1, 4, 5, 8, 10):  # samples, models, study, curve, trials
        out, calls[0] = Path(f"all{number}"), number
        message = refused(capsys, "merge", "a", "b", "-o", out)
        assert "no space left on device; free some space" in message
        assert call(capsys, "merge", "a", "b", "-o", out)[0]["files"] == 4
        assert_whole(out, {"x", "y"})
    assert_whole(Path("a"), {"x"})


def test_a_folder_that_is_there_and_a_second_merge_into_it(capsys, monkeypatch):
    written("a", record("x"))
    written("b", record("y"))
    Path("all").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("ebmark.commands.merge.merged", lambda sources: written("all", record("z")))
        assert "holds results already" in refused(capsys, "merge", "a", "b", "-o", "all")
    assert store.read(Path("all")).trials["id"].tolist() == ["z"], "it ended while this one read"
    Path("new").mkdir()
    told, _ = call(capsys, "merge", "a", "a", "-o", "new")
    assert (told["trials"], told["doubles"], told["unequal"]) == (1, 1, 0), "with itself it is itself"
    assert_whole(Path("new"), {"x"})


def test_an_id_that_is_a_path_never_leaves_the_folder(capsys):
    """Tables may come from anyone."""
    import pyarrow.parquet as pq

    from ebmark.parts import to_arrow

    written("a", record("x"))
    evil = written("b", record("y"))
    rows = [{"id": "../../stolen", "attempt": 1, "status": "ok", "schema": SCHEMA}]
    pq.write_table(to_arrow("trials", rows), evil / "trials" / "part-00000009.parquet")
    Path("stolen.parquet").write_bytes(b"mine")
    assert "not a trial's id" in refused(capsys, "merge", "a", "b", "-o", "all/deep")
    assert [path.name for path in Path().rglob("stolen*")] == ["stolen.parquet"]
    with pytest.raises(store.StoreError, match="not a trial's id"):
        store.read_samples(evil, "../../stolen")


# --- compact ---------------------------------------------------------------------------------------------


def test_compact_leaves_one_part_per_table_in_plan_order(capsys):
    folder = written("a", record("x"), record("y"), record("x", 2), plan={"y": 0.0, "x": 0.0})
    told, _ = call(capsys, "compact", "a")
    assert (told["trials"], told["parts_before"], told["parts_after"]) == (2, 7, 3)
    assert pd.read_parquet(folder / "trials")["id"].tolist() == ["y", "x"]
    assert_whole(folder, {"x", "y"})
    with Store(folder):
        assert "another run is writing here" in refused(capsys, "compact", "a")
    assert "no such folder" in refused(capsys, "compact", "absent") and not Path("absent").exists()


# --- export ----------------------------------------------------------------------------------------------


def exported() -> Path:
    settings = {"method": "cd", "method_args": '{"k": 10, "players": [1, 2]}', "dataset_args": '{"dim": 2}'}
    x, y = record("x"), record("y", status="crashed", steps=0)
    own = {"step": 2, "metric": "mmd", "source": "own_generator", "value": 0.5, "se": 0.1, "trusted": False}
    last = {"step": 2, "metric": "mmd", "source": "", "value": 0.25, "se": 0.1, "trusted": True}
    return written(
        "a",
        replace(x, trial={**x.trial, **settings}, curve=(*x.curve, own, last)),
        replace(y, trial={**y.trial, "reason": 'two\nlines, "and" quotes'}),
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_export_is_one_row_per_trial_with_settings_and_final_metrics(capsys, kind: str):
    folder = exported()
    told, _ = call(capsys, "export", "a", "--format", kind)
    assert told["file"] == f"a/export.{kind}" and told["trials"] == 2
    content = (folder / f"export.{kind}").read_bytes()
    table = (pd.read_csv if kind == "csv" else pd.read_parquet)(io.BytesIO(content))
    assert table.columns.tolist() == told["columns"]
    x, y = (table.set_index("id").loc[id] for id in "xy")
    seed = sum(b"x")
    assert (x["nll"], x["nll.trusted"], x["mmd"], x["mmd.se"]) == (seed + 2 / 8, True, 0.25, 0.1)
    assert (x["mmd.own_generator"], x["mmd.own_generator.trusted"]) == (0.5, False)
    assert (x["method.k"], x["dataset.dim"], x["env.cpu"]) == (10, 2, "c")
    assert json.loads(x["method.players"]) == [1, 2]
    assert pd.isna(y["nll"]) and pd.isna(y["method.k"]) and y["status"] == "crashed"
    assert y["reason"] == 'two\nlines, "and" quotes'


def test_export_takes_its_format_from_the_file(capsys):
    exported()
    assert call(capsys, "export", "a", "-o", "t.parquet")[0]["format"] == "parquet"
    assert len(pd.read_parquet("t.parquet")) == 2
    assert "a name in .csv or .parquet" in refused(capsys, "export", "a", "-o", "t.xlsx")
    assert "cannot be written: no such file" in refused(capsys, "export", "a", "-o", "none/t.csv")


def test_export_replaces_a_file_of_the_user_and_none_of_the_results(capsys):
    folder = written("a", record("x"), spec='name = "a"\n', plan={"x": 1.0})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for options in (
        ("-o", "a/trials/part-00000000.parquet"),
        ("-o", "a/trials/new.csv"),
        ("-o", "a/samples/x.parquet"),
        ("-o", "a/spec.toml", "--format", "csv"),
        ("-o", "a/plan.json", "--format", "parquet"),
    ):
        assert "one of the results' own files; allowed: a new name" in refused(
            capsys, "export", "a", *options
        )
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    Path("t.csv").write_text("of before")
    assert call(capsys, "export", "a", "-o", "t.csv")[0]["trials"] == 1
    assert len(pd.read_csv("t.csv")) == 1


def test_an_empty_folder_exports_the_columns_of_trials(capsys):
    written("a")
    told, _ = call(capsys, "export", "a")
    assert told["trials"] == 0 and "step_seconds" in told["columns"]
    assert not part_paths(Path("a") / "trials")
