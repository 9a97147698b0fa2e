"""`corelm samplers`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corelm.cli.output import describe
from corelm.registry.offers import Offer
from corelm.runs import plugins

Run = Callable[..., Any]


def test_the_table_has_one_line_per_sampler(run: Run) -> None:
    lines = run("samplers").out.splitlines()
    assert lines[0].split() == ["sampler", "description"]
    assert max(map(len, lines)) < 120
    names = [line.split()[0] for line in lines[1:]]
    assert names == sorted(names)
    assert {"ends", "everything", "greedy", "stochastic", "temperature", "uniform"} <= set(names)
    [temperature] = [line for line in lines if line.startswith("temperature")]
    assert temperature.endswith(
        "  Sharpen (t < 1) or flatten (t > 1) the distribution: softmax(logits / t)."
    )
    assert not [line for line in lines if line.endswith(" ")]


@pytest.mark.parametrize("columns", ["80", "40", "20"])
def test_a_table_fits_its_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (["samplers"], ["samplers", "temperature"], ["plugins"]):
        assert max(map(len, run(*words).out.splitlines())) <= int(columns)


def test_the_table_as_json(run: Run) -> None:
    samplers = {sampler["name"]: sampler for sampler in run("samplers", "--json").json}
    assert samplers["temperature"] == {
        "name": "temperature",
        "description": "Sharpen (t < 1) or flatten (t > 1) the distribution: softmax(logits / t).",
        "parameters": [
            {
                "name": "t",
                "type": "float",
                "default": 1.0,
                "rule": "at least 0",
                "help": "softmax temperature; 0 is greedy",
                "aliases": ["temperature"],
            }
        ],
        "plugin": {
            "distribution": "corelm",
            "version": "0.1.0",
            "entry_point": "temperature",
            "module": "corelm_samplers.temperature",
        },
    }
    assert [p["type"] for p in samplers["everything"]["parameters"]] == [
        "int", "float", "bool", "str", "tuple", "dict",
    ]  # fmt: skip


def test_one_sampler_in_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run("samplers", "temperature").out
    assert text.startswith("temperature\nSharpen (t < 1) or flatten (t > 1) the distribution")
    assert "t = 0 is greedy, t = 1 changes nothing" in text
    assert "--t, --temperature  softmax temperature; 0 is greedy (at least 0, default 1.0)" in text
    assert "source    Ackley, Hinton, Sejnowski 1985" in text
    assert "plugin    corelm 0.1.0 (corelm_samplers.temperature)" in text
    assert "try       corelm sample --sampler temperature --t 0.5" in text
    assert "corelm.sampling_distribution" not in text  # the example is for programs


def test_the_effect_on_an_example(run: Run) -> None:
    """Squares of 0.36 0.22 0.14 0.10 0.07 0.05 0.04 0.02 over their sum, 0.2170."""
    effect = run("samplers", "temperature", "--json").json["effect"]
    assert effect["sampler"] == "temperature(t=0.5)"
    assert effect["after"]["good"] == pytest.approx(0.1296 / 0.2170)
    assert effect["after"]["[end]"] == pytest.approx(0.0004 / 0.2170)
    assert effect["entropy_before"] == pytest.approx(1.7493, abs=1e-4)
    assert effect["entropy_after"] == pytest.approx(1.1863, abs=1e-4)
    lines = run("samplers", "temperature").out.splitlines()
    [good] = [line for line in lines if line.strip().startswith("good")]
    assert good.split()[1::2] == ["36%", "60%"]


def test_the_effect_of_other_values(run: Run) -> None:
    after = run("samplers", "temperature(t=inf)", "--json").json["effect"]["after"]
    assert set(after.values()) == {0.125}
    assert run("samplers", "temperature(t=-1)").err == "error: t must be at least 0, not -1.0\n"


def test_a_sampler_that_fails_on_the_example_says_so(run: Run) -> None:
    result = run("samplers", "fails(at=0)")
    assert result.code == 0
    assert "fails(at=0) failed at step 0: ValueError: [31mbroken[0m indeed" in " ".join(
        result.out.split()
    )
    assert "failed at step 0" in run("samplers", "fails(at=0)", "--json").json["effect"]["error"]


@pytest.mark.parametrize(
    ("name", "portable", "line"),
    [
        ("min_p(p=0.1)", True, "yes: it takes arrays of NumPy, torch, JAX and other libraries"),
        (
            "frequency_penalty(penalty=1)",
            True,
            "yes: it takes arrays of NumPy, torch, JAX and other libraries",
        ),
        ("fails(at=0)", False, "no: it takes arrays of NumPy"),
        ("ends", False, "no: it takes arrays of NumPy"),
    ],
)
def test_a_page_says_if_a_sampler_is_portable(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, portable: bool, line: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert f"portable  {line}\n" in run("samplers", name).out
    assert run("samplers", name, "--json").json["portable"] is portable


def test_without_the_package_that_tries_it_portability_is_unknown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    assert "portable  not tried; that needs a package: pip" in run("samplers", "min_p").out
    assert run("samplers", "min_p", "--json").json["portable"] is None


def test_parameters_that_cannot_be_options_are_shown_as_an_expression(run: Run) -> None:
    text = run("samplers", "everything(words=('x',))").out
    assert """try       corelm sample --sampler 'everything(words=("x",))'""" in text
    assert "--sampler-length " in text
    assert "source    Nobody 2025, Nothing in particular." in text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tempreature", "there is no sampler 'tempreature'; did you mean 'temperature'?"),
        ("greedy | greedy", "one sampler at a time, not a chain"),
        ("temperature() | greedy", "one sampler at a time, not a chain"),
    ],
)
def test_chains_and_unknown_names_are_refused(run: Run, name: str, sentence: str) -> None:
    result = run("samplers", name)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err


RIVAL = """
import corelm

class Greedy(corelm.Sampler):
    '''Not \\x1b]52;c;bHM=\\x07the [bold]greedy[/] you know.'''
    def __call__(self, logits, context):
        return logits

@corelm.hookimpl
def corelm_samplers():
    return {"greedy": Greedy}
"""


def test_two_plugins_with_one_name_have_their_full_names(
    installed_plugin: Callable[..., Path], call: Run
) -> None:
    installed_plugin("corelm-rival", {"greedy": "corelm_rival"}, RIVAL)
    code, text, _ = call("samplers")
    assert code == 0
    assert "corelm:greedy" in text
    assert "corelm-rival:greedy" in text
    assert "Not ]52;c;bHM=the [bold]greedy[/] you know." in text
    code, out, err = call("samplers", "greedy")
    assert code == 0
    assert "Put all probability on the most likely token" in out
    assert err == "warning: greedy is corelm's own; the other is corelm-rival:greedy\n"
    rival = call("samplers", "corelm-rival:greedy")
    assert rival.code == 0
    assert "corelm sample --sampler corelm-rival:greedy" in rival.out


OWN = [
    offer
    for offer in plugins.registry().offers("corelm_samplers")
    if offer.source.distribution == "corelm"
]


@pytest.mark.parametrize("offer", OWN, ids=lambda offer: offer.name)
def test_related_samplers_are_there(offer: Offer) -> None:
    names = describe.related(offer.value)
    assert names
    assert offer.name not in names
    assert set(names) <= {other.name for other in OWN}


def test_related_samplers_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "related   top_k, min_p, typical, top_h\n" in run("samplers", "top_p").out
    top_p = run("samplers", "top_p", "--json").json
    assert top_p["related"] == ["top_k", "min_p", "typical", "top_h"]
    assert top_p["source"].startswith("Holtzman")
    assert run("samplers", "everything", "--json").json["related"] == []
    assert "related" not in run("samplers", "everything").out


def test_the_example_has_words_and_an_end(run: Run) -> None:
    """Without the end, 0.02, the 0.36 of `good` is 0.36 / 0.98."""
    after = run("samplers", "min_length(n=3)", "--json").json["effect"]["after"]
    assert after["[end]"] == 0
    assert after["good"] == pytest.approx(0.36 / 0.98)
    after = run("samplers", "ban(words=('great', 'bad'))", "--json").json["effect"]["after"]
    assert after["great"] == after["bad"] == 0
    assert after["good"] == pytest.approx(0.36 / 0.64)
    effect = run("samplers", "ban(words=('zebra',))", "--json").json["effect"]
    assert "does not have 'zebra'" in effect["error"]


@pytest.mark.parametrize("offer", OWN, ids=lambda offer: offer.name)
def test_the_example_shows_what_a_sampler_does(run: Run, offer: Offer) -> None:
    effect = run("samplers", offer.name, "--json").json["effect"]
    unchanged = effect["before"] == pytest.approx(effect["after"])
    assert unchanged == (offer.name == "stochastic")
