"""Records go to disk beside the run, all that wait in one go; an error there stops the run."""

import threading
import time

import pytest

from ebmark.errors import StoreError
from ebmark.record import Record
from ebmark.writer import PAUSE, Writer


class Disk:
    """A store whose disk is busy until it is released."""

    def __init__(self, fails=False):
        self.parts, self.fails = [], fails
        self.asked, self.released = threading.Event(), threading.Event()

    def append(self, records):
        self.asked.set()
        assert self.released.wait(10)
        if self.fails:
            raise StoreError("out: cannot be written: no space left on device")
        self.parts.append([record.trial["id"] for record in records])


def record(id):
    return Record(trial={"id": id})


def test_what_ends_while_the_disk_is_busy_is_one_part_and_counts_once_it_is_there():
    disk, stored = Disk(), []
    with Writer(disk, lambda done: stored.append(done.trial["id"])) as writer:
        writer.put(record("a"))
        assert disk.asked.wait(10)
        for id in "bcd":
            writer.put(record(id))
        assert stored == []
        disk.released.set()
        writer.flush()
        assert stored == ["a", "b", "c", "d"]
    assert disk.parts == [["a"], ["b", "c", "d"]]


def test_leaving_waits_for_the_disk():
    disk = Disk()
    disk.released.set()
    with Writer(disk, lambda done: None) as writer:
        for id in "abc":
            writer.put(record(id))
    assert [id for part in disk.parts for id in part] == ["a", "b", "c"]


def test_a_full_disk_ends_the_run_with_its_line():
    disk, stored = Disk(fails=True), []
    disk.released.set()
    with pytest.raises(StoreError, match="no space left"), Writer(disk, stored.append) as writer:
        writer.put(record("a"))
        writer.flush()
    with pytest.raises(StoreError, match="no space left"), Writer(disk, stored.append) as writer:
        writer.put(record("a"))  # nobody asks again before the end
    assert stored == []


def test_records_that_end_one_by_one_share_parts_and_no_one_who_waits_for_them_waits_long():
    disk = Disk()
    disk.released.set()
    with Writer(disk, lambda done: None) as writer:
        for _ in range(3):
            writer.put(record("a"))
            begin = time.monotonic()
            writer.flush()  # a timed trial is next
            assert time.monotonic() - begin < PAUSE
        for _ in range(20):
            writer.put(record("b"))
            time.sleep(PAUSE / 20)
    assert disk.parts[:3] == [["a"]] * 3
    assert sum(len(part) for part in disk.parts[3:]) == 20
    assert len(disk.parts[3:]) < 10
