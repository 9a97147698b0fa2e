"""The options of a command line, as they are read before Typer reads it."""

from __future__ import annotations

import pytest
from corelm_bench.commands import bench

from corelm.cli.choices import own_options
from corelm.cli.commands.explain import explain
from corelm.cli.commands.sample import sample
from corelm.cli.parameters import RESERVED, scan
from corelm.commands import Inputs

TAKES_VALUE = {"--t": True, "--stop": True, "--json": False}


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


def test_the_reserved_names_are_those_of_the_commands_that_take_a_sampler() -> None:
    commands = (sample, explain, bench, Inputs)
    own = {option for command in commands for option in own_options(command)}
    assert own - {"--built", "--inputs", "-n"} | {"--help"} == RESERVED
