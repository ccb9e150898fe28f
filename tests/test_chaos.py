"""A worker, the driver and Ray's daemon are killed in the midst of a study: nothing is lost or doubled."""

import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import chaos

TRIALS = 80


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The study's results where nothing happened."""
    return chaos.undisturbed(tmp_path_factory.mktemp("alone"), TRIALS)


def test_a_study_under_fire_ends_as_one_that_was_left_alone(tmp_path, expected):
    found = chaos.disturbed(tmp_path, expected, TRIALS, random.Random(0), ["worker", "driver", "raylet"])
    assert found.faults == (), (tmp_path / "log.txt").read_text()[-3000:]
    assert found.runs > 1


def test_what_is_wrong_with_results_is_seen(tmp_path, expected):
    """One number of the curve, one trial twice, one file that is left."""
    shutil.copytree(expected, tmp_path / "out")
    assert list(chaos.faults(tmp_path / "out", expected)) == []
    for table in ("trials", "curve"):
        (part,) = (tmp_path / "out" / table).glob("*.parquet")
        data = pq.read_table(part)
        if table == "trials":
            data = pa.concat_tables([data, data.slice(0, 1)])
        else:
            i = data.schema.get_field_index("value")
            values = data["value"].to_pylist()
            data = data.set_column(i, data.field(i), pa.array([values[0] * (1 + 1e-12), *values[1:]]))
        pq.write_table(data, part)
    (tmp_path / "out" / "curve" / ".part-9.parquet.tmp").touch()
    wrong = [line.partition(":")[0] for line in chaos.faults(tmp_path / "out", expected)]
    assert [line.partition(", ")[0] for line in wrong] == ["1 trials are there twice", "curve", "left behind"]
