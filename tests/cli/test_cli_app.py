"""The commands, and how a command line finds its own."""

from __future__ import annotations

import pytest

from corelm.cli.app import COMMANDS as OF_THE_HEART
from corelm.cli.app import main

COMMANDS = (
    *OF_THE_HEART,
    "bench",
    "chat",
    "data",
    "explain",
    "models",
    "plugins",
    "presets",
    "report",
    "score",
    "study",
    "train",
)
"""The guests' are found by their entry points."""


@pytest.mark.packages
def test_help_lists_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "")
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "} == set(
        COMMANDS
    )


@pytest.mark.packages
@pytest.mark.parametrize("command", [*COMMANDS, "models show", "models export", "data imdb"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "-h"):
        assert main([*command.split(), option]) == 0
        written = capsys.readouterr()
        assert written.out.startswith(f"Usage: corelm {command} [OPTIONS]")
        assert written.err == ""
        assert max(map(len, written.out.splitlines())) <= 80


@pytest.mark.packages
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_its_own_help_when_used_wrongly(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "-x"]) == 2
    assert capsys.readouterr().err == (
        f"error: No such option: -x; see `corelm {command} --help`\n"
    )
