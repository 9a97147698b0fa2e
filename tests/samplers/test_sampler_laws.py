"""Every built-in sampler obeys the laws, at the ends of its parameters' ranges too."""

from __future__ import annotations

import pkgutil

import corelm_samplers
from conformance import FILTERS, OTHERS
from sampler_examples import EXAMPLES, LAWFUL, LAWFUL_WITH_WORDS

import corelm
from corelm.testing import ToyModel, obeys_the_laws


@obeys_the_laws(*(corelm.sampler(f"{name}({x})") for name, many in LAWFUL.items() for x in many))
def test_law(sampler, law):
    law(sampler)


@obeys_the_laws(*map(corelm.sampler, LAWFUL_WITH_WORDS), vocabulary=ToyModel("abc").vocabulary)
def test_law_with_words(sampler, law):
    law(sampler)


def test_no_sampler_is_left_out():
    names = {module.name for module in pkgutil.iter_modules(corelm_samplers.__path__)}
    assert names == LAWFUL.keys(), "write its parameters into LAWFUL of sampler_examples.py"
    of_logits = {name for name in names if not corelm.sampler(EXAMPLES.get(name, name)).reads}
    compared = {*FILTERS, *(each.partition("(")[0] for each in OTHERS)}
    assert of_logits <= compared, "write a row for it into FILTERS or OTHERS of conformance.py"
