"""`corelm plugins`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from corelm.runs import plugins

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


def test_what_has_an_entry_point_of_its_own_is_listed_there_alone(
    run: Run, installed_plugin: Install
) -> None:
    code = (
        "import corelm\n"
        "class A(corelm.Sampler):\n"
        "    def __call__(self, logits, context): return logits\n"
        "class B(A): pass\n"
        "class C(A): pass\n"
        "@corelm.hookimpl\n"
        "def corelm_samplers(): return {'a1': A, 'b1': B, 'c1': C}\n"
    )
    installed_plugin("corelm-three", {"a1": "corelm_three", "b1": "corelm_three"}, code)
    lines = run("plugins").out.splitlines()
    rows = {line.split()[0]: line.split(maxsplit=3)[3] for line in lines[1:]}
    assert (rows["a1"], rows["b1"]) == ("sampler a1, sampler c1", "sampler b1")


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugin")  # which forgets the plugins of a test
def test_all_is_well(monkeypatch: pytest.MonkeyPatch, call: Run) -> None:
    """Of each package but SmolLM2's: the tests of its engine apply the laws to tiny models."""
    packages = {point.dist.name for point in entry_points(group="corelm") if point.dist}
    monkeypatch.setenv("CORELM_PLUGINS", ",".join(packages - {"corelm-smollm2"}))
    plugins.registry.cache_clear()
    checked = call("plugins", "--check")
    assert (checked.code, checked.err) == (0, "")


def test_check_warns_of_parameters_that_shadow_an_option(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, call: Run
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
    checked = call("plugins", "--check")
    assert checked.code == 0
    assert checked.err.splitlines() == [
        "warning: sampler corelm-long:long: the commands have an option --length, so the parameter "
        "length is given as --sampler-length; another name is easier",
        "warning: sampler corelm-long:long: the commands have an option --prompt-file, so the "
        "parameter prompt_file is given as --sampler-prompt-file; another name is easier",
    ]
    assert call("plugins").err == ""


FAILURES = {
    "absent": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "wrong": ("def f(:", "SyntaxError: invalid syntax"),
    "newer": ("CORELM_API_VERSION = 99", "made for version 99 of the plugin contract"),
}
"""Modules that cannot be plugins, by name, and the reason that the table shows."""


@pytest.mark.slow
def test_a_plugin_that_failed_is_there_with_its_reason(
    installed_plugin: Install, call: Run
) -> None:
    for name, (code, _) in FAILURES.items():
        installed_plugin(f"corelm-{name}", {name: f"corelm_{name}"}, code)
    written = call("plugins")
    rows = {line.split()[0]: " ".join(line.split()) for line in written.out.splitlines()}
    for name, (_, reason) in FAILURES.items():
        assert rows[name].startswith(f"{name} corelm-{name} 1.0 FAILED: {reason}")
    assert "sampler greedy" in written.out
    assert (written.code, written.err) == (0, "")


def test_strict_is_as_good_as_check(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, call: Run
) -> None:
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, "1 / 0")
    monkeypatch.setenv("CORELM_STRICT_PLUGINS", "1")
    assert call("plugins").code == 1


def test_other_commands_warn_in_one_line_and_go_on(installed_plugin: Install, call: Run) -> None:
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, "raise ValueError('\\x1b[1mno')")
    written = call("samplers")
    assert (written.code, "greedy" in written.out) == (0, True)
    assert written.err == ("warning: plugin corelm-broken:broken was left out: ValueError: [1mno\n")


@pytest.mark.slow
def test_plugins_list_is_the_same_table(run: Callable[..., Any]) -> None:
    assert run("plugins", "list").out == run("plugins").out
    assert run("plugins", "list", "--json").json == run("plugins", "--json").json


ODD = """
import corelm

class Evil(Exception):
    def __str__(self):
        raise SystemExit(5)

class Nameless(corelm.Sampler):
    @property
    def expression(self):
        raise SystemExit(5)
    def __call__(self, logits, context):
        return logits

class Exits(corelm.Sampler):
    def __call__(self, logits, context):
        raise Evil

class Verbose(corelm.Sampler):
    def __call__(self, logits, context):
        raise ValueError("x" * 10_000_000)

class Picky(corelm.Sampler):
    def __call__(self, logits, context):
        raise corelm.errors.UsageError("give a word")

@corelm.hookimpl
def corelm_samplers():
    return {"picky": Picky, "exits": Exits, "verbose": Verbose, "nameless": Nameless}
"""


def faults(written: str) -> dict[str, str]:
    """Return the fault of each offer of a test's package, by its name."""
    found = re.findall(
        r"^warning: the \w+ [\w-]+:(\w+) \([\w.]+ of corelm_\w+\) (.*)$", written, re.M
    )
    return dict(found)


def test_check_calls_each_sampler(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, call: Run
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-odd")
    names = ("picky", "exits", "verbose", "nameless")
    installed_plugin("corelm-odd", dict.fromkeys(names, "corelm_odd"), ODD)
    checked = call("plugins", "--check", "--quick")
    reasons = faults(checked.err)
    broken = "breaks the law is_a_distribution: "
    beginnings = {
        "exits": f"{broken}Exits() raised Evil: (no message: SystemExit in its __str__)",
        "nameless": "failed in a call: SystemExit: 5",
        "verbose": f"{broken}Verbose() raised ValueError: {'x' * 2000}... (10,000,000 characters)",
    }
    assert (checked.code, reasons.keys()) == (1, beginnings.keys())
    for name, beginning in beginnings.items():
        assert reasons[name].startswith(beginning)
    listed = call("plugins")
    assert (listed.code, listed.err) == (0, "")
