"""The commands, and how a command line finds its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

Call = Callable[..., Result]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
LISTED = re.findall(r"^\| `corelm (.+?)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
"""The commands that the reference names."""

COMMANDS = [command for command in LISTED if " " not in command]
GROUPS = sorted({command.partition(" ")[0] for command in LISTED if " " in command})


@pytest.mark.packages
@pytest.mark.parametrize("group", ["", *GROUPS])
def test_the_reference_names_every_command(
    group: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "")
    code, out, _ = call(*group.split(), "--help")
    assert code == 0
    help = out.partition("Commands:\n")[2]
    offered = re.findall(r"^  (\S+)", help, re.MULTILINE)
    assert sorted(offered) == sorted(
        name for words in LISTED for parent, _, name in [words.rpartition(" ")] if parent == group
    )


@pytest.mark.packages
@pytest.mark.parametrize("command", LISTED)
def test_every_command_has_help(command: str, call: Call) -> None:
    for option in ("--help", "-h"):
        written = call(*command.split(), option)
        assert written.out.startswith(f"Usage: corelm {command} [OPTIONS]")
        assert (written.code, written.err) == (0, "")
        assert max(map(len, written.out.splitlines())) <= 80
        assert not re.search(r"<\w+[\[>]|list\[|str \| None", written.out)
        few = len(re.findall("^  -", written.out, re.MULTILINE)) <= 12
        first = re.search(r"^The most important options:\n(?: .*\n)*", written.out, re.MULTILINE)
        assert few or (first and 5 <= len(re.findall("^  -", first[0], re.MULTILINE)) <= 7)


@pytest.mark.packages
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_its_own_help_when_used_wrongly(command: str, call: Call) -> None:
    message = f"error: No such option: -x; see `corelm {command} --help`\n"
    assert call(command, "-x")[::2] == (2, message)
