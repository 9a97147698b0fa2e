"""The commands, and how a command line finds its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import main

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
LISTED = re.findall(r"^\| `corelm (.+?)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
"""The commands that the reference names."""

COMMANDS = [command for command in LISTED if " " not in command]
GROUPS = sorted({command.partition(" ")[0] for command in LISTED if " " in command})


@pytest.mark.packages
@pytest.mark.parametrize("group", ["", *GROUPS])
def test_the_reference_names_every_command(
    group: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "")
    assert main([*group.split(), "--help"]) == 0
    help = capsys.readouterr().out.partition("Commands:\n")[2]
    offered = re.findall(r"^  (\S+)", help, re.MULTILINE)
    assert sorted(offered) == sorted(
        name for words in LISTED for parent, _, name in [words.rpartition(" ")] if parent == group
    )


@pytest.mark.packages
@pytest.mark.parametrize("command", LISTED)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "-h"):
        assert main([*command.split(), option]) == 0
        written = capsys.readouterr()
        assert written.out.startswith(f"Usage: corelm {command} [OPTIONS]")
        assert written.err == ""
        assert max(map(len, written.out.splitlines())) <= 80
        assert not re.search(r"<\w+[\[>]|list\[|str \| None", written.out)
        few = len(re.findall("^  -", written.out, re.MULTILINE)) <= 12
        first = re.search(r"^The most important options:\n(?: .*\n)*", written.out, re.MULTILINE)
        assert few or (first and 5 <= len(re.findall("^  -", first[0], re.MULTILINE)) <= 7)


@pytest.mark.packages
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_its_own_help_when_used_wrongly(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "-x"]) == 2
    assert capsys.readouterr().err == (
        f"error: No such option: -x; see `corelm {command} --help`\n"
    )
