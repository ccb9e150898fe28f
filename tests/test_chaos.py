"""A worker, the driver and Ray's daemon are killed in the midst of a study: nothing is lost or doubled."""

import random

from tests import chaos


def test_a_study_under_fire_ends_as_one_that_was_left_alone(tmp_path):
    for name in ("alone", "fire"):
        (tmp_path / name).mkdir()
    expected = chaos.undisturbed(tmp_path / "alone", 80)
    found = chaos.disturbed(tmp_path / "fire", expected, 80, random.Random(0), ["worker", "driver", "raylet"])
    assert found.faults == (), (tmp_path / "fire" / "log.txt").read_text()[-3000:]
    assert found.runs > 1


def test_what_is_wrong_with_results_is_seen(tmp_path):
    """A run of half the study, and one of it whole: the halves are not the whole."""
    for name, trials in (("half", 4), ("whole", 8)):
        (tmp_path / name).mkdir()
        chaos.undisturbed(tmp_path / name, trials)
    wrong = list(chaos.faults(tmp_path / "half" / "out", tmp_path / "whole" / "out"))
    assert [line.partition(":")[0] for line in wrong] == ["trials", "curve"]
