"""Commands that plugins add: listed without an import, loaded when called, each able to fail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result, main
from programs import python

from corelm.registry.offers import entry_points

Install = Callable[..., Path]
Call = Callable[..., Result]
GROUP = "corelm.commands"

HELLO = '''
import typer

import corelm

print("imported hello")


def hello(name: str = "you", fail: bool = False):
    """Say hello."""
    if fail:
        raise corelm.CorelmError("nobody is here")
    typer.echo(f"hello {name}")
    return "not an exit code"


@corelm.hookimpl
def corelm_commands():
    app = typer.Typer()
    app.command()(hello)
    return {"hello": app}
'''

GROUPED = """
import typer

import corelm

app = typer.Typer(help="Do two things.")


@app.command()
def one(words: list[str] | None = None):
    return 3


@app.command()
def two(stop: bool = False):
    raise typer.Abort if stop else typer.Exit(4)


@corelm.hookimpl
def corelm_commands():
    return {"hello": app}
"""

SHARED = '''
from typing import Annotated

import corelm
import typer
from corelm.commands import application


def hello(
    model: str = "imdb",
    device: Annotated[str | None, typer.Option(help="My device.")] = None,
    scheduler: str | None = None,
    workers: int = 2,
) -> None:
    """Show what the options are."""
    typer.echo(f"{model} {device} {scheduler} {workers!r}")


@corelm.hookimpl
def corelm_commands():
    return {"hello": application(hello, "Say hello.")}
'''

OFFER = "\nimport corelm\n@corelm.hookimpl\ndef corelm_commands(): return {'hello': app}\n"


@pytest.fixture
def install(installed_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a package with one command, next to nothing but corelm's own."""
    installed: list[str] = []

    def install(code: str, name: str = "corelm-hello", command: str = "hello") -> Path:
        installed.append(name)
        monkeypatch.setenv("CORELM_PLUGINS", ",".join(installed))
        return installed_plugin(name, {command: name.replace("-", "_")}, code, group=GROUP)

    return install


def listed(help: str) -> list[str]:
    lines = help.partition("Commands:\n")[2].splitlines()
    return [line for line in lines if "From the plugin" in line]


def test_help_lists_a_command_without_importing_its_module(install: Install, call: Call) -> None:
    install(HELLO)
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert listed(out) == ["  hello     From the plugin corelm-hello 1.0."]
    assert "corelm_hello" not in sys.modules


@pytest.mark.parametrize(("words", "searches"), [(["hello"], 1), (["samplers", "greedy"], 0)])
def test_commands_are_looked_for_once_and_only_where_one_is_called(
    install: Install, monkeypatch: pytest.MonkeyPatch, words: list[str], searches: int
) -> None:
    install(HELLO)
    groups = []
    monkeypatch.setattr(
        "corelm.registry.registry.entry_points",
        lambda group: groups.append(group) or entry_points(group),
    )
    assert main(words) == 0
    assert groups.count(GROUP) == searches


def test_an_app_of_one_command_is_that_command(install: Install, call: Call) -> None:
    install(HELLO)
    assert call("hello") == (0, "hello you\n", "imported hello\n")
    assert call("hello", "--name", "world") == (0, "hello world\n", "")
    code, out, _ = call("hello", "-h")
    assert code == 0
    assert out.startswith("Usage: corelm hello [OPTIONS]\n\n  Say hello.\n")
    assert "  --name TEXT " in out
    assert call("corelm-hello:hello", "--name", "1")[:2] == (0, "hello 1\n")


def test_an_argument_of_a_shared_name_is_corelms_option(install: Install, call: Call) -> None:
    install(SHARED)
    code, out, _ = call("hello", "--help")
    assert code == 0
    help = " ".join(out.split())
    assert "--model NAME|PATH A name from `corelm models`" in help
    assert "--scheduler ADDRESS Do the work on the Dask cluster" in help
    assert "My device." in help  # an option of its own stays, and so does what is no text
    assert "--workers INTEGER" in help
    assert "in this number of processes" not in help
    assert call("hello", "--model", "a/b", "--workers", "3")[:2] == (0, "a/b None None 3\n")


def test_an_app_of_several_commands_is_a_group(install: Install, call: Call) -> None:
    install(GROUPED)
    assert call("hello", "one") == (3, "", "")
    assert call("hello", "two") == (4, "", "")
    assert call("hello", "two", "--stop") == (1, "", "error: aborted\n")
    code, out, _ = call("hello", "--help")
    assert code == 0
    assert "Do two things." in out
    assert "completion" not in out
    assert "  --words TEXT" in call("hello", "one", "--help")[1]  # not list[str]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hello", "--fail"], (1, "nobody is here")),
        (["hello", "-x"], (2, "No such option: -x; see `corelm hello --help`")),
        (["helo"], (2, "No such command 'helo'. Did you mean 'hello'? See `corelm --help`")),
    ],
)
def test_wrong_usage(
    install: Install, call: Call, words: list[str], message: tuple[int, str]
) -> None:
    install(HELLO)
    code, out, err = call(*words)
    assert (code, out) == (message[0], "")
    assert err.splitlines()[-1] == f"error: {message[1]}"


@pytest.mark.slow
def test_a_broken_command_fails_alone(
    install: Install, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    install("1 / 0")
    reason = "ZeroDivisionError: division by zero"
    exit_code, out, err = call("hello")
    assert (exit_code, out) == (2, "")
    beginning = "error: the command 'hello' cannot be used: plugin corelm-hello:hello failed: "
    assert err.splitlines()[-1].startswith(beginning + reason)
    assert call("--help")[0] == 0
    assert call("presets")[0] == 0
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-hello")  # or the laws of all others are checked
    exit_code, out, err = call("plugins", "--check")
    assert (exit_code, err) == (1, "")
    [row] = [line for line in out.splitlines() if line.startswith("hello")]
    assert f"FAILED: {reason}" in row


def test_plugins_lists_commands(install: Install, call: Call) -> None:
    install(HELLO)
    _, out, _ = call("plugins")
    [row] = [line for line in out.splitlines() if line.startswith("hello")]
    assert row.split() == ["hello", "corelm-hello", "1.0", "command", "hello"]


@pytest.mark.packages
def test_no_plugin_replaces_a_command_of_corelm(install: Install, call: Call) -> None:
    install(HELLO.replace('"hello":', '"presets":'), command="presets")
    assert "keras-hub" in call("presets")[1]
    assert listed(call("--help")[1]) == [
        "  corelm-hello:presets  From the plugin corelm-hello 1.0."
    ]
    assert call("corelm-hello:presets")[:2] == (0, "hello you\n")


def test_one_name_of_two_plugins_is_refused_with_both_full_names(
    install: Install, call: Call
) -> None:
    install(HELLO)
    install(HELLO.replace("hello {name}", "bye {name}"), "corelm-bye")
    code, _, err = call("hello")
    assert (code, err.splitlines()[-1]) == (
        2,
        "error: 2 plugins offer 'hello'; say which one: corelm-bye:hello or corelm-hello:hello",
    )
    assert call("corelm-bye:hello")[1] == "bye you\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "line", "names"),
    [
        (GROUPED, "corelm hel", ["hello"]),
        (GROUPED, "corelm hello t", ["two"]),
        ("1 / 0", "corelm hello t", []),
    ],
)
def test_the_shell_completes_commands_of_plugins(
    install: Install, code: str, line: str, names: list[str]
) -> None:
    install(code)
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = python("-m", "corelm", env={"_CORELM_COMPLETE": "complete_bash", **asked})
    assert (done.returncode, done.stdout.split()) == (0, names)
    assert "error" not in done.stderr
    assert done.stderr == "" or not names


TYPED = """
from pathlib import Path
import corelm, enum
from corelm.commands import Inputs, application, with_choices
class Kind(enum.Enum):
    A = "a"
def hello(
    inputs: Inputs,
    count: int = 3,
    share: float | None = None,
    sizes: list[int] = [],
    file: Path = Path("x"),
    kind: Kind = Kind.A,
    word: str = "w",
):
    "Show what the options are."
    print(repr((count, share, sizes, file.name, kind.name, word)))
@corelm.hookimpl
def corelm_commands():
    return {"hello": application(with_choices(hello), "Say hello.")}
"""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", "(3, None, [], 'x', 'A', 'w')"),
        ("--count 2 --word 2", "(2, None, [], 'x', 'A', '2')"),
        ("--share 0.5 --sizes 1 --sizes 2", "(3, 0.5, [1, 2], 'x', 'A', 'w')"),
        ("--file a/b --kind a", "(3, None, [], 'b', 'A', 'w')"),
    ],
)
def test_options_have_the_types_of_their_arguments(
    install: Install, call: Call, words: str, shown: str
) -> None:
    install(TYPED)
    assert call("hello", *words.split()) == (0, f"{shown}\n", "")
