"""`corelm decoders`: the list, and one decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_the_list_has_each_decoder_with_its_plugin(run: Run) -> None:
    result = run("decoders")
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].split() == ["decoder", "description"]
    assert lines[1].startswith("ancestral ")
    [wide] = [line for line in lines if line.startswith("wide ")]
    assert wide.endswith("  The ordinary decoder with a parameter.")


def test_the_list_as_json(run: Run) -> None:
    decoders = {decoder["name"]: decoder for decoder in run("decoders", "--json").json}
    [width] = decoders["wide"]["parameters"]
    assert (width["name"], width["default"], width["rule"]) == ("width", 2, "at least 1")


def test_one_decoder_shows_its_options_and_a_command(run: Run) -> None:
    result = run("decoders", "wide")
    text = " ".join(result.out.split())
    assert result.code == 0
    assert "--width, --beams how wide (at least 1, default 2)" in text
    assert "try corelm sample --decoder wide" in text
    assert run("decoders", "wide", "--json").json["name"] == "wide"


def test_an_unknown_decoder(run: Run) -> None:
    result = run("decoders", "wdie")
    assert (result.code, result.out) == (2, "")
    assert "there is no decoder 'wdie'; did you mean 'wide'?" in result.err
