"""The hooks: six, each with one true sentence, and an API with a version."""

from __future__ import annotations

import inspect

import pytest

import corelm
from corelm import hookspecs
from corelm.registry.registry import HOOKS, Registry

NAMES = (
    "corelm_samplers",
    "corelm_decoders",
    "corelm_models",
    "corelm_metrics",
    "corelm_commands",
    "corelm_next_token",
)


def test_these_are_the_hooks():
    marked = [name for name, value in vars(hookspecs).items() if hasattr(value, "corelm_spec")]
    assert tuple(marked) == NAMES == HOOKS


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is_in_one_sentence(name):
    text = inspect.getdoc(getattr(hookspecs, name))
    assert text.endswith(".")
    assert "\n\n" not in text


@pytest.mark.parametrize(
    ("name", "arguments"), [*((name, []) for name in NAMES[:-1]), (NAMES[-1], ["step"])]
)
def test_their_arguments(name, arguments):
    assert list(inspect.signature(getattr(hookspecs, name)).parameters) == arguments


def test_the_contract_has_a_version():
    assert corelm.API_VERSION == 1


def test_corelm_offers_its_own_samplers_through_the_hooks_alone():
    mine = [source for source in Registry().sources() if source.distribution == "corelm"]
    values = {source.entry_point: source.value for source in mine}
    for name in ("greedy", "stochastic", "temperature", "uniform"):
        assert values[name] == f"corelm_samplers.{name}"
    assert values["ancestral"] == "corelm.generation.generate"
