"""Exit codes and the messages on standard error."""

from __future__ import annotations

import logging
import tomllib

import pytest
from tiers import PROJECTS

from corelm.cli.applications import exit_code
from corelm.errors import UnknownNameError
from corelm.registry.packages import INSTALLABLE


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


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            "there is no decoder 'beam' (there are: ancestral)",
            "; the package corelm-beam offers it: pip install ./plugins/corelm-beam",
        ),
        ("there is no sampler 'gredy'; did you mean 'greedy'?", ""),
    ],
)
def test_an_unknown_name_that_a_package_offers_names_the_package(
    message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise UnknownNameError(message)

    assert exit_code(work, help="corelm --help") == 2
    assert capsys.readouterr() == ("", f"error: {message}{hint}\n")


@pytest.mark.packages
def test_every_name_that_a_package_of_the_repository_offers_is_known() -> None:
    """An unknown sampler, decoder, model or command says which package to install."""
    offered = {}
    for file in PROJECTS:
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        points = project.get("entry-points", {})
        for group in ("corelm", "corelm.commands"):
            offered |= dict.fromkeys(points.get(group, {}), project["name"])
    offered.pop("corelm_next_token")  # an observer: nothing to choose
    assert offered == INSTALLABLE
