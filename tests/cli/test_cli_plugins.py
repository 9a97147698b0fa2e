"""`corelm plugins`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corelm.cli import main

Run = Callable[..., Any]
Install = Callable[..., Path]


def test_the_offers_of_each_plugin(run: Run) -> None:
    lines = run("plugins").out.splitlines()
    assert lines[0].split() == ["plugin", "from", "offers"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["greedy"] == ["corelm", "0.1.0", "sampler", "greedy"]
    assert rows["ancestral"] == ["corelm", "0.1.0", "decoder", "ancestral"]


def test_the_offers_of_each_plugin_as_json(run: Run) -> None:
    plugins = {plugin["entry_point"]: plugin for plugin in run("plugins", "--json").json}
    assert plugins["uniform"] == {
        "distribution": "corelm",
        "version": "0.1.0",
        "entry_point": "uniform",
        "module": "corelm_samplers.uniform",
        "offers": [{"kind": "sampler", "name": "uniform"}],
        "failure": None,
    }


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_check_warns_of_parameters_that_shadow_an_option(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-long")
    code = (
        "import corelm\n"
        "class Long(corelm.Sampler):\n"
        "    length: int = corelm.param(1)\n"
        "    prompt_file: str = corelm.param('')\n"
        "    t: float = corelm.param(1.0)\n"
        "    def __call__(self, logits, context): return logits\n"
        "@corelm.hookimpl\n"
        "def corelm_samplers(): return {'long': Long}\n"
    )
    installed_plugin("corelm-long", {"long": "corelm_long"}, code)
    assert main(["plugins", "--check"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: sampler corelm-long:long: the commands have an option --length, so the parameter "
        "length is given as --sampler-length; another name is easier",
        "warning: sampler corelm-long:long: the commands have an option --prompt-file, so the "
        "parameter prompt_file is given as --sampler-prompt-file; another name is easier",
    ]
    main(["plugins"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("CORELM_API_VERSION = 99", "made for version 99 of the plugin contract"),
    ],
)
def test_a_plugin_that_failed_is_there_with_its_reason(
    installed_plugin: Install, capsys: pytest.CaptureFixture[str], code: str, reason: str
) -> None:
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, code)
    assert main(["plugins"]) == 0
    written = capsys.readouterr()
    [row] = [line for line in written.out.splitlines() if line.startswith("broken")]
    assert " ".join(row.split()).startswith(f"broken corelm-broken 1.0 FAILED: {reason}")
    assert "sampler greedy" in written.out
    assert written.err == ""
    assert main(["plugins", "--check"]) == 1
    assert capsys.readouterr().err == ""


def test_strict_is_as_good_as_check(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, "1 / 0")
    monkeypatch.setenv("CORELM_STRICT_PLUGINS", "1")
    assert main(["plugins"]) == 1


def test_other_commands_warn_in_one_line_and_go_on(
    installed_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, "raise ValueError('\\x1b[1mno')")
    assert main(["samplers"]) == 0
    written = capsys.readouterr()
    assert "greedy" in written.out
    assert written.err == ("warning: plugin corelm-broken:broken was left out: ValueError: [1mno\n")


def test_plugins_list_is_the_same_table(run: Callable[..., Any]) -> None:
    assert run("plugins", "list").out == run("plugins").out
    assert run("plugins", "list", "--json").json == run("plugins", "--json").json


def test_check_warns_of_a_parameter_whose_option_a_command_has(run: Callable[..., Any]) -> None:
    warning = (
        "warning: sampler corelm-toy:everything: the commands have an option --length, so the "
        "parameter length is given as --sampler-length; another name is easier\n"
    )
    checked = run("plugins", "--check")
    assert (checked.code, warning in checked.err) == (0, True)
    assert warning not in run("plugins").err


def test_entry_points_to_one_module_each_list_their_own_offer(run: Callable[..., Any]) -> None:
    plugins = {each["entry_point"]: each["offers"] for each in run("plugins", "--json").json}
    for name in ("gpt2", "imdb", "path"):
        assert plugins[name] == [{"kind": "model", "name": name}]
