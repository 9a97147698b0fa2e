"""Calls in child processes, which end when they take too much."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import pytest

from corelm.errors import ExecutorError, TooMuchError, UsageError
from corelm.runs import BoundedCalls

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds memory")


@pytest.fixture(scope="module")
def calls():
    found = BoundedCalls(seconds=0.5, memory=2**27)
    yield found
    found.close()


def test_a_call_returns_what_the_function_returns(calls):
    assert calls.call("operator:add", ["a", {"b": None}], [1.5]) == ["a", {"b": None}, 1.5]
    assert calls.call("os:getpid") == calls.call("os:getpid") != os.getpid()


@pytest.mark.parametrize(
    ("seconds", "function", "arguments", "reason"),
    [
        (0.5, "re:fullmatch", ["(a*)*b", "a" * 50], "more than 0.5 seconds of a processor"),  # in C
        # With time to spare: memory alone ends them, however slow the machine is.
        (30, "operator:mul", ["a", 10**10], "more than 134,217,728 bytes of memory"),
        (30, "operator:mul", ["a", 10**8], "bytes of memory|too much"),  # its answer doesn't fit
        (30, "os:abort", [], "too much memory, and its process has ended"),
    ],
)
def test_a_call_that_takes_too_much_ends_and_others_work(seconds, function, arguments, reason):
    with closing(BoundedCalls(seconds=seconds, memory=2**27)) as calls:
        with pytest.raises(TooMuchError, match=reason):
            calls.call(function, *arguments)
        assert calls.call("operator:add", 1, 2) == 3


def test_a_call_that_gets_no_time_of_a_processor_is_no_fault_of_its_own(calls, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("corelm.bounded_calls.PATIENCE", 0.1)
        with pytest.raises(ExecutorError, match="machine is too busy"):
            calls.call("time:sleep", 60)
    assert calls.call("operator:add", 1, 2) == 3


def test_an_exception_is_a_usage_error_with_its_text(calls):
    with pytest.raises(UsageError, match="ZeroDivisionError: integer division"):
        calls.call("operator:floordiv", 1, 0)


def test_what_a_function_prints_does_not_get_between_the_answers(calls):
    assert calls.call("builtins:print", "[1, null, false]") is None
    assert calls.call("operator:add", 1, 1) == 2


@pytest.mark.packages  # Jinja comes with them
def test_modules_of_the_working_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "jinja2.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    calls = BoundedCalls(seconds=1)
    assert calls.call("corelm.interop.chat_template:rendered", "{{ 1 }}", {"messages": []}) == "1"
    calls.close()
