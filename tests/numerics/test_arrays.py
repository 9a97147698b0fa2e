"""The array libraries that the definitions run on."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from corelm_samplers.top_h import top_h
from corelm_samplers.top_p import top_p

import corelm
from corelm import filters
from corelm.errors import UsageError
from corelm.filters import array_namespace, widen
from corelm.numerics import arrays
from corelm.numerics.arrays import first_true, running_count, wide_float


def namespace(**types: str) -> SimpleNamespace:
    """Return a namespace of the standard that has these types of floats."""

    def dtypes(*, kind: str) -> dict[str, str]:
        return {"real floating": types}[kind]

    info = SimpleNamespace(dtypes=dtypes)
    return SimpleNamespace(__array_namespace_info__=lambda: info, float32="float of 32 bits")


def test_the_namespace_of_numpy_is_numpy():
    assert array_namespace(np.zeros(2)) is np
    assert array_namespace(np.float32(1)) is np


def test_another_array_names_its_own_namespace():
    array = SimpleNamespace(__array_namespace__=lambda: "its own")
    assert array_namespace(array) == "its own"


def test_a_library_that_names_no_namespace_has_a_stand_in(monkeypatch):
    monkeypatch.setitem(arrays.ADAPTERS, "library", "library_adapter")
    monkeypatch.setitem(sys.modules, "library_adapter", adapter := SimpleNamespace())
    array = type("Array", (), {"__module__": "library.deep.inside"})()
    assert array_namespace(array) is adapter


@pytest.mark.parametrize("value", [[1.0], 1.0, None])
def test_anything_else_is_not_an_array(value):
    with pytest.raises(UsageError) as caught:
        array_namespace(value)
    assert str(caught.value) == f"expected an array, not {type(value).__name__}"


def test_sums_are_taken_in_64_bits_where_the_library_has_them():
    assert wide_float(np) is np.float64
    assert wide_float(namespace(float64="float of 64 bits")) == "float of 64 bits"
    assert wide_float(namespace(bfloat16="a short one")) == "float of 32 bits"


def test_widen_keeps_the_values():
    wide = widen(np.array([0.5, -np.inf], np.float32))
    assert (wide.dtype, wide.tolist()) == (np.float64, [0.5, -np.inf])


def test_the_first_true_value_of_each_row():
    mask = np.array([[False, True, True, False], [False] * 4, [True, False, True, True]])
    assert running_count(mask).tolist() == [[0, 1, 2, 2], [0, 0, 0, 0], [1, 1, 2, 3]]
    assert first_true(mask).tolist() == [
        [False, True, False, False], [False] * 4, [True, False, False, False],
    ]  # fmt: skip


@pytest.mark.parametrize("value", [[[0.0, 1.0]], None, "01", 2.5])
@pytest.mark.parametrize(
    "call",
    [
        lambda value: corelm.draw(value, [0.5]),
        lambda value: filters.top_k(value, 1),
        lambda value: top_p(value, 0.5),
        lambda value: filters.within_nats(value, 1.0),
        lambda value: filters.likeliest_tokens(value, 1),
        lambda value: top_h(value, 0.5),
        lambda value: corelm.softmax(value),
    ],
)
def test_what_is_no_array_is_refused_by_every_function_of_logits(call, value):
    with pytest.raises(UsageError, match=f"^expected an array, not {type(value).__name__}$"):
        call(value)
