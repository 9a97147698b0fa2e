"""Output on terminals and in files."""

from __future__ import annotations

import io
import sys

import pytest

from corelm import CorelmError
from corelm.cli.output import messages
from corelm.cli.output.messages import is_plain
from corelm.commands import Output
from corelm.text.printable import strip_controls


def test_every_character_of_c0_and_c1_but_tab_and_newline_goes() -> None:
    controls = [*range(0x20), *range(0x7F, 0xA0)]
    assert strip_controls("".join(map(chr, controls))) == "\t\n"


def test_messages_have_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    messages.tell("a\nb\x1b[31m\tc", "error")
    assert capsys.readouterr().err == "error: a b[31m c\n"


def test_json_is_ascii_and_has_no_nan() -> None:
    stream = io.StringIO()
    Output(stream).json({"a": [float("nan"), float("-inf"), 1.5], "b": "\x9b\u202eé"})
    assert stream.getvalue() == (
        '{\n  "a": [\n    null,\n    null,\n    1.5\n  ],\n  "b": "\\u009b\\u202e\\u00e9"\n}\n'
    )


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [("NO_COLOR", "1", True), ("NO_COLOR", "", False), ("TERM", "dumb", True), ("X", "x", False)],
)
def test_the_streams_that_get_colours(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, plain: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    assert is_plain(FakeTerminal()) is plain
    assert is_plain(io.StringIO())


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["This", " movie", " is", " good", "."], "This\nmovie is\ngood."),
        (["one\ntwo", " three"], "one\ntwo three"),
        (["incomprehensible", " word"], "incomprehensible\nword"),
        (["漢字", " 漢字", " 漢字"], "漢字 漢字\n漢字"),
        (["a", "b", "c", " d"], "abc d"),
    ],
)
def test_lines_break_between_words(
    monkeypatch: pytest.MonkeyPatch, pieces: list[str], lines: str
) -> None:
    """The terminal has ten columns; the last one stays free for a full stop."""
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = FakeTerminal()
    out = Output(stream)
    for piece in pieces:
        out.text(piece)
    assert stream.getvalue() == lines


def test_prints_of_plugins_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Output.open() as out:
        print("by a plugin")
        out.text("the product")
    print("afterwards")
    assert capsys.readouterr() == ("the productafterwards\n", "by a plugin\n")


def test_a_plugin_cannot_end_the_program() -> None:
    with pytest.raises(CorelmError, match="asked to end the program"), Output.open():
        sys.exit(0)
