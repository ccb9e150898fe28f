"""One trial on the screen: what ran, how it ended, and how to run it again."""

from __future__ import annotations

import json
import re

import pytest

from ebmark.commands import status
from ebmark.commands.show import show
from ebmark.console import Console
from ebmark.errors import StoreError
from ebmark.record import Record
from ebmark.store import Store
from tests.synthetic import FEW, SMALL, small


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Quality trials of which one has crashed."""
    folder = tmp_path_factory.mktemp("show") / "out"
    made = small(seeds=1, datasets=SMALL[:1], methods=FEW[:1], lattice=8)
    rows = made.trials[made.trials["lane"] == "quality"]
    records = []
    for _, row in rows.iterrows():
        curve = made.curve[made.curve["id"] == row["id"]]
        trial = row.dropna().to_dict() | {"id": re.sub(r"[\[\]=]", "-", row["id"])}
        if trial["dim"] == 8:
            trial |= {"status": "crashed", "reason": "KeyError: 'x'", "traceback": "Traceback\n  line 3"}
        known = [point.dropna().to_dict() for _, point in curve.iterrows()]
        records.append(Record(trial=trial, curve=known, env=made.env.iloc[0].dropna().to_dict()))
    with Store(folder) as store:
        store.append(records)
    return folder


def test_settings_costs_and_curve(results, capsys):
    show(Console(), "q-cd-k-1--gaussian-2", results)
    text = capsys.readouterr().out
    assert text.startswith("q-cd-k-1--gaussian-2-0  ok  attempt 1")
    assert "sampling 10%" in text  # 4 F in a step of 10 F and 0.8 ms more
    assert "not trusted: ran beside other trials" in text
    steps = [line.split()[0] for line in text.partition("curve")[2].splitlines()[2:8]]
    assert steps == ["0", "100", "250", "600", "1500", "4000"]
    assert f"ebmark run {results}/spec.toml -o {results} --only q-cd-k-1--gaussian-2-0" in text


def test_a_crash_shows_its_traceback(results, capsys):
    show(Console(), "q-cd-k-1--gaussian-8", results)
    text = capsys.readouterr().out
    assert "crashed: KeyError: 'x'" in text
    assert "traceback\nTraceback\n  line 3" in text


def test_status_names_what_failed_and_the_command_that_shows_it(results, capsys):
    status.show(Console(), results)
    text = capsys.readouterr().out
    assert f"`ebmark show ID {results}` says why" in text
    assert text.splitlines()[-1].startswith(
        "q-cd-k-1--gaussian-8-0  crashed   cd[k=1] on gaussian d=8 seed 0"
    )
    assert "gaussian-2" not in text


def test_the_document_holds_the_rows_of_the_tables(results, capsys):
    show(Console(as_json=True), "q-cd-k-1--gaussian-2", results)
    document = json.loads(capsys.readouterr().out)
    assert document["trial"]["dim"] == 2
    assert {row["step"] for row in document["curve"]} == {0, 100, 250, 600, 1500, 4000}
    assert len(document["env"]) == 1


@pytest.mark.parametrize(
    ("given", "says"), [("zz", "no trial begins so"), ("q-", "2 trials begin so in .*, give more digits")]
)
def test_an_id_that_fits_none_or_several_is_told_with_some_that_there_are(results, given, says):
    with pytest.raises(StoreError, match=says) as told:
        show(Console(), given, results)
    assert "q-cd-k-1--gaussian-2-0" in str(told.value)
    assert "\n" not in str(told.value)
