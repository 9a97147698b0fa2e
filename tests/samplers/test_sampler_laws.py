"""Every built-in sampler obeys the laws, at the ends of its parameters' ranges too."""

from __future__ import annotations

import pkgutil

import corelm_samplers
from sampler_examples import LAWFUL


def test_no_sampler_is_left_out():
    assert LAWFUL.keys() == {
        module.name for module in pkgutil.iter_modules(corelm_samplers.__path__)
    }
