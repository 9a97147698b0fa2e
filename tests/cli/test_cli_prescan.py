"""The look at the command line before Typer reads it."""

from __future__ import annotations

import pytest
from corelm_bench.commands import bench

from corelm import Sampler, param
from corelm.cli.commands.explain import explain
from corelm.cli.commands.sample import sample
from corelm.cli.options.inputs import Inputs
from corelm.cli.options.parameters import RESERVED, Chosen, flag
from corelm.cli.options.prescan import own_options, refuse_unknown, scan
from corelm.errors import UsageError

TAKES_VALUE = {"--t": True, "--stop": True, "--json": False}


class Two(Sampler):
    """Two parameters and a switch."""

    t: float = param(1.0, aliases=("stop", "temp"))
    a_b: int = param(2)
    on: bool = param(False)

    def __call__(self, logits, context):  # type: ignore[no-untyped-def]
        return logits


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ("--t 1 the", {"--t": "1"}, ["the"]),
        ("--t=1 the", {"--t": "1"}, ["the"]),
        ("--t=a=b", {"--t": "a=b"}, []),
        ("--t= x", {"--t": ""}, ["x"]),
        ("--t", {"--t": None}, []),
        ("--t --json", {"--t": "--json"}, []),
        ("--json 1", {"--json": None}, ["1"]),
        ("--unknown 1", {"--unknown": None}, ["1"]),
        ("--a_b", {"--a-b": None}, []),
        ("--t 1 --t 2", {"--t": "2"}, []),
        ("- -h a", {}, ["-", "a"]),
        ("a -- --t 1", {}, ["a", "--t", "1"]),
    ],
)
def test_options_and_words_are_separated(
    arguments: str, options: dict[str, str | None], words: list[str]
) -> None:
    assert scan(arguments.split(" "), TAKES_VALUE) == (options, words)


def test_names_of_options() -> None:
    free = Chosen.of("sampler", Two, taken=())
    assert free.names == {"t": ["--t", "--stop", "--temp"], "a_b": ["--a-b"], "on": ["--on"]}
    assert free.options == {
        "--t": True, "--stop": True, "--temp": True, "--a-b": True, "--on": False, "--no-on": False,
    }  # fmt: skip


def test_a_name_that_is_taken_begins_with_the_kind() -> None:
    crowded = Chosen.of("sampler", Two, taken=("--t", "--stop", "--a-b"))
    assert crowded.names["t"] == ["--sampler-t", "--temp"]
    assert crowded.names["a_b"] == ["--sampler-a-b"]


def test_the_option_of_a_name() -> None:
    assert [flag("t"), flag("t_min")] == ["--t", "--t-min"]


def test_exactly_the_unknown_options_are_refused() -> None:
    chosen = Chosen.of("sampler", Two, taken=())
    known = {**TAKES_VALUE, **chosen.options}

    def is_refused(option: str) -> bool:
        try:
            refuse_unknown([option], known, [chosen])
        except UsageError:
            return True
        return False

    options = ["--t", "--json", "--a-b", "--temp", "--no-on", "--tem", "--a-c"]
    assert [option for option in options if is_refused(option)] == ["--tem", "--a-c"]


def test_an_unknown_option_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match="no option --x: the sampler two has --t, --a-b, --on"):
        refuse_unknown(["--x"], TAKES_VALUE, [Chosen.of("sampler", Two, taken=())])
    with pytest.raises(UsageError, match="no option --jsno; did you mean '--json'"):
        refuse_unknown(["--jsno"], TAKES_VALUE, [])


def test_the_reserved_names_are_those_of_the_commands_that_take_a_sampler() -> None:
    commands = (sample, explain, bench, Inputs)
    own = {option for command in commands for option in own_options(command)}
    assert own - {"--built", "--inputs", "-n"} | {"--help"} == RESERVED
