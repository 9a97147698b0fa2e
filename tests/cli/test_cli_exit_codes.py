"""What a command says besides its product."""

from __future__ import annotations

import logging

import pytest

from corelm.cli.exit_codes import exit_code


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.DEBUG, ""),
        (logging.INFO, "12 of 16 guesses\n"),
        (logging.WARNING, "warning: 12 of 16 guesses\n"),
    ],
)
def test_what_is_logged_is_a_note_or_a_warning(
    level: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        logging.getLogger("corelm.plugin").log(level, "%d of %d\nguesses", 12, 16)

    assert exit_code(work, help="corelm --help") == 0
    assert capsys.readouterr() == ("", line)
