"""What an interrupted report keeps, and how the next one goes on."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest

from corelm.errors import UsageError
from corelm.report.measure.journal import Journal, opened

SETTINGS = {"n": 3, "length": 10, "samplers": [["greedy", "corelm:greedy 0.1.0"]]}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "reports"


def interrupted(units: dict[str, object], settings=SETTINGS, resume=False) -> list[str]:
    """Do some units and stop; returns those that were not done before."""
    fresh = []

    def work(name):
        fresh.append(name)
        return units[name]

    with suppress(KeyboardInterrupt), opened(settings, resume) as journal:
        for name in units:
            journal.do(name, lambda name=name: work(name))
        raise KeyboardInterrupt
    return fresh


def test_a_unit_is_done_once_and_comes_back_as_it_was():
    units = {"a": [0.1 + 0.2, math.nan], "b": {"error": "é"}}
    assert interrupted(units) == ["a", "b"]
    with opened(SETTINGS, resume=True) as journal:
        third, nan = journal.do("a", pytest.fail)
        assert third == 0.1 + 0.2
        assert math.isnan(nan)
        assert journal.do("b", pytest.fail) == {"error": "é"}
        assert journal.do("c", lambda: (1, 2)) == [1, 2]


def test_it_goes_on_again_and_again():
    assert interrupted({"a": 1}) == ["a"]
    assert interrupted({"a": 1, "b": 2}, resume=True) == ["b"]
    assert interrupted({"a": 1, "b": 2, "c": 3}, resume=True) == ["c"]


def test_what_is_new_is_the_same_as_what_was_kept():
    assert Journal().do("a", lambda: {"t": (1, 2.5), 3: None}) == {"t": [1, 2.5], "3": None}


def test_it_is_gone_when_all_went_well(home):
    with opened(SETTINGS, resume=False) as journal:
        journal.do("a", lambda: 1)
        assert len(list(home.iterdir())) == 1
    assert list(home.iterdir()) == []


def test_without_resume_it_begins_anew():
    interrupted({"a": 1})
    assert interrupted({"a": 2}) == ["a"]
    assert interrupted({"a": 3}, resume=True) == []
    with opened(SETTINGS, resume=True) as journal:
        assert journal.do("a", pytest.fail) == 2


@pytest.mark.parametrize("torn", [b'["c", 3', b'["c", 3]', b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_line_that_is_not_whole_is_left_out(home, torn):
    """As a killed process may leave one; what follows is again whole."""
    interrupted({"a": 1, "b": 2})
    [file] = home.iterdir()
    file.write_bytes(file.read_bytes() + torn)
    assert interrupted({"a": 1, "b": 2, "c": 4}, resume=True) == ["c"]
    assert [json.loads(line) for line in file.read_bytes().splitlines()][1:] == [
        ["a", 1],
        ["b", 2],
        ["c", 4],
    ]


@pytest.mark.parametrize("content", [b"", b"{}\n", b'5\n["a", 1]\n', b'{"n": 3}\n5\n'])
def test_a_file_that_is_no_journal_is_begun_anew(home, content):
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
        "the interrupted report has other settings: length 10, here 50; samplers [['greedy', "
        "'corelm:greedy 0.1.0']], here []; give the same, or leave out --resume"
    )


def test_with_nothing_to_go_on_from_it_begins(caplog):
    caplog.set_level("INFO")
    assert interrupted({"a": 1}, resume=True) == ["a"]
    assert "there is no interrupted report to go on from" in caplog.text


def test_where_nothing_can_be_kept_the_work_is_done_all_the_same(home, caplog):
    home.parent.write_text("a file where the folder should be")
    assert interrupted({"a": 1}) == ["a"]
    assert "an interrupted report could not go on, for " in caplog.text


def test_a_disk_that_fills_up_stops_the_keeping_alone(caplog):
    class Full:
        def write(self, line):
            raise OSError(28, "No space left on device")

    journal = Journal(file=Full())
    assert [journal.do(name, lambda: 5) for name in "ab"] == [5, 5]
    assert caplog.messages == ["what is finished cannot be kept any more: No space left on device"]
