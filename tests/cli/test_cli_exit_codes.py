"""Exit codes and the messages on standard error."""

from __future__ import annotations

import logging

import pytest

from corelm.cli.applications import exit_code


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.DEBUG, ""),
        (logging.INFO, "12 of 16 guesses\n"),
        (logging.WARNING, "warning: 12 of 16 guesses\n"),
    ],
)
def test_log_records_are_notes_or_warnings(
    level: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        logging.getLogger("corelm.plugin").log(level, "%d of %d\nguesses", 12, 16)

    assert exit_code(work, help="corelm --help") == 0
    assert capsys.readouterr() == ("", line)


class Stop(BaseException):
    pass


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Stop("now"), "error: Stop: now (--debug shows where)\n"),
        (
            MuteError(),
            "error: MuteError: (no message: RuntimeError in its __str__) (--debug shows where)\n",
        ),
    ],
    ids=["stop", "mute"],
)
def test_any_error_of_a_plugin_is_one_line(
    error: BaseException, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert exit_code(work, help="corelm --help") == 1
    assert capsys.readouterr().err == message


def test_a_request_to_exit_is_obeyed() -> None:
    def work() -> None:
        raise SystemExit(7)

    with pytest.raises(SystemExit) as caught:
        exit_code(work, help="corelm --help")
    assert caught.value.code == 7
