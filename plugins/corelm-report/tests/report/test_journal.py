"""The journal of a report: what an interrupted report keeps, and how the next one resumes."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from corelm.errors import UsageError
from corelm_report.measure.journal import Journal, opened

SETTINGS = {"n": 3, "length": 10, "samplers": ["greedy of corelm:greedy 0.1.0"]}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The folder of journals, in a home of its own."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "reports"


def do(journal: Journal, unit: str, work: Callable[[], object]) -> object:
    """Return the stored result of a unit, or do its work and store the result."""
    return journal.take(unit) if unit in journal else journal.keep(unit, json.dumps(work()))


def interrupted(units: dict[str, object], settings=SETTINGS, resume=False) -> list[str]:
    """Do some units and stop; return the units that weren't stored before."""
    fresh = []

    def work(name):
        fresh.append(name)
        return units[name]

    with suppress(KeyboardInterrupt), opened(settings, resume) as journal:
        for name in units:
            do(journal, name, lambda name=name: work(name))
        raise KeyboardInterrupt
    return fresh


def test_a_unit_is_done_once_and_comes_back_as_it_was():
    units = {"a": [0.1 + 0.2, math.nan], "b": {"error": "é"}}
    assert interrupted(units) == ["a", "b"]
    with opened(SETTINGS, resume=True) as journal:
        third, nan = do(journal, "a", pytest.fail)
        assert third == 0.1 + 0.2
        assert math.isnan(nan)
        assert do(journal, "b", pytest.fail) == {"error": "é"}
        assert do(journal, "c", lambda: (1, 2)) == [1, 2]


@pytest.mark.parametrize(("days", "is_there"), [(29, True), (31, False)])
def test_another_report_removes_what_was_interrupted_long_ago(home, days, is_there):
    interrupted({"a": 1})
    [old] = home.glob("*.jsonl")
    changed = time.time() - days * 86_400
    os.utime(old, (changed, changed))
    with opened({**SETTINGS, "n": 4}, resume=False):
        assert old.exists() is is_there


def test_a_report_resumes_however_long_ago_it_was_interrupted(home):
    interrupted({"a": 1})
    [old] = home.glob("*.jsonl")
    os.utime(old, (0, 0))
    assert interrupted({"a": 1, "b": 2}, resume=True) == ["b"]


def test_it_resumes_again_and_again():
    assert interrupted({"a": 1}) == ["a"]
    assert interrupted({"a": 1, "b": 2}, resume=True) == ["b"]
    assert interrupted({"a": 1, "b": 2, "c": 3}, resume=True) == ["c"]


def test_a_new_result_is_the_same_as_a_kept_one():
    assert do(Journal(), "a", lambda: {"t": (1, 2.5), 3: None}) == {"t": [1, 2.5], "3": None}


def test_it_is_removed_after_success(home):
    with opened(SETTINGS, resume=False) as journal:
        do(journal, "a", lambda: 1)
        assert len(list(home.glob("*.jsonl"))) == 1
    assert list(home.iterdir()) == []


def test_without_resume_it_starts_again():
    interrupted({"a": 1})
    assert interrupted({"a": 2}) == ["a"]
    assert interrupted({"a": 3}, resume=True) == []
    with opened(SETTINGS, resume=True) as journal:
        assert do(journal, "a", pytest.fail) == 2


def units_in(file) -> list[object]:
    """The units of a journal, without their checksums."""
    return [json.loads(line.partition(b" ")[2]) for line in file.read_bytes().splitlines()][1:]


@pytest.mark.parametrize(
    "torn", [b'["c", 3', b'["c", 3]', b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'["c", 3]\n']
)
def test_a_last_line_that_is_not_whole_is_left_out(home, torn):
    """A killed process may leave one; the lines that follow are whole again."""
    interrupted({"a": 1, "b": 2})
    [file] = home.iterdir()
    file.write_bytes(file.read_bytes() + torn)
    assert interrupted({"a": 1, "b": 2, "c": 4}, resume=True) == ["c"]
    assert units_in(file) == [["a", 1], ["b", 2], ["c", 4]]


def damaged(line: bytes) -> bytes:
    """A line with one bit flipped in its middle."""
    at = len(line) // 2
    return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_line_with_a_flipped_bit_is_refused_by_name(home, at):
    interrupted({"a": [1.5, 2.5], "b": 2, "c": 3})
    [file] = home.iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    lines[at] = damaged(lines[at])
    file.write_bytes(b"".join(lines))
    with pytest.raises(UsageError, match="leave out --resume to start again") as refused:
        interrupted({"a": 1}, resume=True)
    assert str(refused.value).startswith(f"line {at + 1} of the journal {str(file)!r} is damaged ")


def test_a_line_of_another_report_is_refused_by_name(home):
    interrupted({"a": {"n": 1}}, settings=SETTINGS | {"n": 4})
    [other] = home.iterdir()
    interrupted({"a": 1, "b": 2})
    [file] = set(home.iterdir()) - {other}
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = other.read_bytes().splitlines(keepends=True)[1]
    file.write_bytes(b"".join(lines))
    with pytest.raises(UsageError, match=r"line 2 of the journal .* of another report; leave out"):
        interrupted({"a": 1}, resume=True)


@pytest.mark.parametrize("content", [b'5\n["a", 1]\n', b'{"n": 3}\n5\n'])
def test_a_file_that_is_not_a_journal_is_refused_by_name(home, content):
    interrupted({"a": 1})
    [file] = home.iterdir()
    file.write_bytes(content)
    with pytest.raises(UsageError, match="line 1 of the journal "):
        interrupted({"a": 1}, resume=True)
    assert interrupted({"a": 1}) == ["a"]


def test_two_equal_reports_at_once_leave_each_other_alone(home, caplog):
    with suppress(KeyboardInterrupt), opened(SETTINGS, resume=False) as first:
        do(first, "a", lambda: 1)
        with opened(SETTINGS, resume=True) as second:
            assert do(second, "a", pytest.fail) == 1
            do(second, "b", lambda: 2)
        do(first, "c", lambda: 3)
        raise KeyboardInterrupt
    assert caplog.messages == [
        "another process is making the same report, so this one cannot be resumed"
    ]
    assert interrupted({"a": 1, "b": 2, "c": 3}, resume=True) == ["b"]


@pytest.mark.parametrize("content", [b"", b"{}\n", b"5"])
def test_a_header_that_is_not_whole_starts_again(home, content):
    interrupted({"a": 1})
    [file] = home.iterdir()
    file.write_bytes(content)
    assert interrupted({"a": 1}, resume=True) == ["a"]


def test_other_settings_are_refused_with_what_differs():
    interrupted({"a": 1})
    other = SETTINGS | {"length": 50, "samplers": []}
    with pytest.raises(UsageError) as refused, opened(other, resume=True):
        pytest.fail("it began")
    assert str(refused.value) == (
        "the interrupted report has other settings: length 10, here 50; samplers greedy of "
        "corelm:greedy 0.1.0, here none; give the same ones, or leave out --resume"
    )


def test_with_nothing_to_resume_it_starts(caplog):
    caplog.set_level("INFO")
    assert interrupted({"a": 1}, resume=True) == ["a"]
    assert "no interrupted report to resume" in caplog.text


def test_without_a_place_for_the_journal_the_work_is_done_all_the_same(home, caplog):
    home.parent.write_text("a file where the folder should be")
    assert interrupted({"a": 1}) == ["a"]
    assert "the report cannot be resumed if interrupted: " in caplog.text


def test_a_full_disk_does_not_stop_the_work(caplog):
    class Full:
        def write(self, line):
            raise OSError(28, "No space left on device")

    journal = Journal(file=Full())
    assert [do(journal, name, lambda: 5) for name in "ab"] == [5, 5]
    assert caplog.messages == ["finished work can no longer be saved: No space left on device"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
@pytest.mark.parametrize("resume", [True, False])
def test_a_journal_that_is_not_a_file_is_refused(home, make, resume):
    interrupted({"a": 1})
    [path] = home.glob("*.jsonl")
    path.unlink()
    make(path)
    with pytest.raises(UsageError, match="is not a file; delete it"):
        interrupted({"a": 1}, resume=resume)
    with pytest.raises(KeyboardInterrupt), opened(SETTINGS | {"n": 4}, resume=True):
        raise KeyboardInterrupt
