"""Invalid arguments raise errors, and the module has exactly the functions of its interface."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import corelm_samplers
import numpy as np
import pytest
from compiled_kernels import kernels
from corelm_samplers.dynamic_temperature import dynamic_temperature
from native_helpers import zeros
from programs import python

import corelm
from corelm import filters as public_filters
from corelm.native import rows as native_rows
from corelm.native.interface import Kernels
from corelm.numerics import distributions, filters, masks
from corelm.questions import divergences
from corelm.tokens import edits as token_edits

ALL = np.ones((2, 3), bool)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("multiply", (zeros(2, 3), zeros(1, 4, 16), None, 0, None, zeros(2, 5))),
        ("multiply", (zeros(2, 3), zeros(1, 3, 16), None, 0, None, zeros(2, 17))),
        ("multiply", (zeros(2, 3), zeros(1, 3, 16), zeros(4), 0, None, zeros(2, 5))),
        ("multiply", (zeros(2, 3), zeros(1, 3, 16), None, 0, None, zeros(3, 5))),
        ("multiply", (zeros(2, 3).T, zeros(1, 2, 16), None, 0, None, zeros(3, 5))),
        ("multiply", (zeros(2, 3).astype("f8"), zeros(1, 3, 16), None, 0, None, zeros(2, 5))),
        ("multiply", (zeros(2, 3), zeros(1, 3, 16), None, 4, None, zeros(2, 5))),
        ("multiply", (zeros(2, 3), zeros(1, 3, 16), None, 0, zeros(2, 4), zeros(2, 5))),
        ("multiply", (None, zeros(1, 3, 16), None, 0, None, zeros(2, 5))),
        ("pack", (zeros(2, 3), zeros(2, 3, 16))),
        ("normalise", (zeros(2, 3), zeros(4), None, 1e-6, zeros(2, 3))),
        ("normalise", (zeros(2, 3), zeros(3), None, "x", zeros(2, 3))),
        ("draw", (zeros(2, 0), np.zeros(2), np.zeros(2, int), np.zeros(2))),
        ("surprisals", (zeros(2, 3), np.array([0, -1]), np.zeros(2))),
        ("surprisals_and_entropy", (zeros(2, 3), np.array([0, 3]), np.zeros(2), np.zeros(2))),
        ("surprisals_and_entropy", (zeros(2, 3), np.array([0, 1]), np.zeros(2), np.zeros(3))),
        ("mask_tokens", (zeros(2, 3), np.array([3]), zeros(2, 3))),
        ("apply_mask", (zeros(2, 3), ALL[:1], zeros(2, 3), zeros(2, 3), np.zeros(2, bool))),
        ("apply_mask", (zeros(2, 3), ALL, zeros(3, 2), zeros(2, 3), np.zeros(2, bool))),
        ("apply_mask", (zeros(2, 3), ALL, zeros(2, 3), zeros(2, 3), np.zeros(3, bool))),
        ("forbid_tokens", (zeros(2, 3), np.array([0, 1, 2]), 2, zeros(2, 3))),
        ("forbid_tokens", (zeros(2, 3), np.array([0, 1]), np.array([1, 0]), zeros(2, 3))),
        ("apply_temperature", (zeros(2, 3), 1.0, zeros(2, 4))),
        ("top_k", (zeros(2, 3), -1, zeros(2, 3))),
        ("top_k", (zeros(2, 3), 1, zeros(2, 4))),
        ("moments", (zeros(2, 3), np.array([1.0, -1.0]), np.zeros((2, 2, 3)))),
        ("rows_are_valid", (zeros(3),)),
        ("min_and_shannon_entropy", (zeros(2, 3), np.zeros(2), np.zeros(1))),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, arguments):
    with pytest.raises((TypeError, ValueError, BufferError)):
        getattr(kernels, name)(*arguments)


IDS, STATS = np.array([0, 2]), np.zeros((2, 4))
TABLE_OF_MOMENTS = np.zeros((2, 1, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("softmax", (zeros(2, 3),), "softmax: expected 2 arguments, got 1"),
        ("rows_are_valid", (zeros(2, 3), None), "rows_are_valid: expected 1 arguments, got 2"),
        ("softmax", (zeros(2, 0), zeros(2, 0)), "logits: expected 1 to 2147483646 tokens in a row"),
        ("softmax", (zeros(2, 3), zeros(2, 4)), "out: axis 1 has length 4, expected 3"),
        ("top_p", (zeros(2, 3), "x", None), "p: expected a number, got 'x'"),
        ("top_k", (zeros(2, 3), 0, None), "k: expected at least 1, got 0"),
        ("within_nats", (zeros(2, 3), np.zeros(1), None), "nats has length 1, expected 2"),
        ("within_nats", (zeros(2, 3), 1, None), "nats: expected an array, got <class 'int'>"),
        ("draw", (zeros(2, 3), np.zeros(3), None, None), "uniforms has length 3, expected 2"),
        ("draw", (zeros(2, 3), np.zeros(2), np.zeros(2), None),
         "tokens: expected a 1-D int64 array, got 1-D float64"),
        ("min_and_shannon_entropy", (zeros(2, 3), np.zeros(2), 0),
         "entropy: expected an array, got <class 'int'>"),
        ("surprisals", (zeros(2, 3), IDS + 1, None), "tokens: expected ids from 0 to 2, got 3"),
        ("mask_tokens", (zeros(2, 3), IDS - 1, None), "tokens: expected ids from 0 to 2, got -1"),
        ("apply_mask", (zeros(2, 3), zeros(2, 3), None, None, None),
         "allowed: expected a 2-D bool array, got 2-D float32"),
        ("xtc", (zeros(2, 3), 0.5, 0.1, None, None),
         "protected tokens: expected an array, got <class 'NoneType'>"),
        ("moments", (zeros(2, 3), np.zeros(1), None), "temperatures: expected numbers above 0"),
        ("moments", (zeros(2, 3), np.ones(2), TABLE_OF_MOMENTS),
         "out: axis 1 has length 1, expected 2"),
        ("divergence", (zeros(2, 3), zeros(2, 3), np.zeros((2, 3)), None, None),
         "model_stats: axis 1 has length 3, expected 4"),
        ("divergence", (zeros(2, 3), zeros(2, 3), STATS + 3, None, None),
         "model_stats: row 0: the likeliest token is not in the vocabulary"),
        ("divergence", (zeros(2, 3), zeros(2, 3), STATS, IDS, np.zeros((2, 10))),
         "out: axis 1 has length 10, expected 11"),
    ],
)  # fmt: skip
def test_errors_name_the_argument_what_was_expected_and_what_came(name, arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        getattr(kernels, name)(*arguments)


EMBED = ("embed", (), 1, zeros(9, 4), zeros(5, 4), None)
HEAD = (("multiply", (0,), 1, zeros(1, 4, 16), None, 0),), (4, 9)


@pytest.mark.parametrize(
    ("nodes", "widths"),
    [
        ((), (0, 4)),
        ((EMBED,), (0, 5)),
        ((EMBED,), (0,)),
        ((EMBED,), (0, -4)),
        ((EMBED,), (0, None)),
        ((("embed", (0,), *EMBED[2:]),), (0, 4)),
        ((("embed", (), 0, *EMBED[3:]),), (4, 4)),
        ((("embed", (), 2, *EMBED[3:]),), (0, 4)),
        ((("embed", (), 1, zeros(9, 4), zeros(5, 3), None),), (0, 4)),
        ((("embed", (), 1, zeros(9, 4), None, None),), (0, 4)),
        ((("attention", (), *EMBED[2:]),), (0, 4)),
        ((EMBED, ("normalise", (1,), 2, zeros(4), zeros(5), 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (1,), 2, zeros(4), None, None)), (0, 4, 4)),
        ((EMBED, ("normalise", (1,), 1, zeros(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (1, 1), 2, zeros(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (), 2, zeros(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("multiply", (1,), 2, zeros(1, 3, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1,), 2, zeros(1, 4, 16), zeros(3), 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1, 0), 2, zeros(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1, 1, 1), 2, zeros(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (), 2, zeros(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("attend", (), 2, 0, 0, 1)), (0, 4, 4)),
        ((EMBED, ("attend", (1,), 2, 0, 0, 0)), (0, 4, 4)),
        ((EMBED, ("attend", (1,), 2, -1, 0, 1)), (0, 4, 4)),
    ],
)
def test_layers_that_do_not_fit_are_refused(nodes, widths):
    kernels.plan((EMBED,), (0, 4), *HEAD)
    with pytest.raises((TypeError, ValueError, BufferError)):
        kernels.plan(nodes, widths, *HEAD)
    with pytest.raises((TypeError, ValueError, BufferError)):
        kernels.plan((EMBED,), (0, 4), (EMBED,), (4, 4))


@pytest.mark.parametrize(
    "changed",
    [
        {"window": np.zeros((1, 6), int)},
        {"window": np.full((1, 3), 9)},
        {"window": np.full((1, 3), -1)},
        {"window": np.zeros((2, 3), int)},
        {"window": np.zeros((1, 3))},
        {"window": np.zeros((1, 1), int)},
        {"cache": zeros(1, 1, 1, 1, 2, 4)},
        {"cache": zeros(1, 0, 1, 1, 5, 4)},
        {"cache": zeros(1, 1, 2, 1, 5, 4)},
        {"cache": zeros(1, 1, 1, 0, 5, 4)},
        {"cache": zeros(1, 1, 1, 3, 5, 4)},
        {"cache": zeros(1, 1, 1, 2, 5, 2)},
        {"cache": zeros(1, 1, 1, 1, 5, 4)[..., ::-1]},
        {"cache": zeros(1, 1, 1, 1, 4)},
        {"mask": np.ones((1, 1, 2, 3), bool)},
        {"mask": np.ones((2, 1, 1, 3), bool)},
        {"mask": np.ones((2, 1, 2, 3))},
        {"outputs": zeros(1, 2, 5)},
        {"outputs": zeros(2, 2, 4)},
        {"outputs": zeros(1, 4, 4)},
        {"scores": zeros(1, 3, 9)},
        {"scores": zeros(1, 1, 8)},
        {"scores": zeros(2, 1, 9)},
        {"plan": None},
        {"times": np.array([4])},
        {"times": np.array([1])},
        {"times": np.array([-1])},
        {"times": np.array([2**63 - 1])},
        {"times": np.array([2, 2])},
        {"times": np.array([2], np.int32)},
        {"times": np.array([2.0])},
    ],
)
def test_steps_that_do_not_fit_a_plan_are_refused(changed):
    nodes = (EMBED, ("attend", (1, 1), 2, 0, 1, 1))
    step = {
        "plan": kernels.plan(nodes, (0, 4, 4), *HEAD),
        "window": np.zeros((1, 3), int),
        "cache": zeros(1, 1, 1, 1, 5, 4),
        "mask": np.ones((2, 1, 2, 3), bool),
        "outputs": zeros(1, 2, 4),
        "scores": zeros(1, 1, 9),
    }
    kernels.run(*step.values())
    kernels.run(*step.values(), None)
    kernels.run(*step.values(), np.array([2]))
    with pytest.raises((TypeError, ValueError, BufferError)):
        kernels.run(*(step | changed).values())


def test_read_only_results_are_refused():
    out = zeros(2, 3)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        kernels.apply_temperature(zeros(2, 3), 1.0, out)


def test_the_kernels_can_be_switched_off():
    code = "from corelm import native; print(native.kernels)"
    done = python("-c", code, env={"CORELM_KERNELS": "0"}, check=True)
    assert done.stdout == "None\n"


def test_the_interface_lists_every_function_of_the_module():
    listed = {*vars(Kernels), *Kernels.__annotations__}
    public = {name for name in dir(kernels) if not name.startswith("_")}
    assert public == {name for name in listed if not name.startswith("_")}


def test_every_kernel_on_rows_serves_a_definition():
    """With parameters in the same order, as keywords are passed to the kernel by their order."""
    for name, on_rows in vars(native_rows).items():
        is_own = getattr(on_rows, "__module__", "") == native_rows.__name__
        if is_own and inspect.isfunction(on_rows) and name[0] != "_" and name not in OTHERS:
            definition = DEFINITIONS[name]
            parameters = list(inspect.signature(definition).parameters)
            of_kernel = list(inspect.signature(on_rows).parameters)
            assert of_kernel[1:] in (parameters[1:], ["arguments"])
            assert definition.__wrapped__ is not definition


def test_keywords_may_come_in_any_order():
    rows = np.random.default_rng(1).normal(size=(2, 9)).astype(np.float32)
    for values in (rows, rows.astype(np.float64)):
        expected = dynamic_temperature(values, 0.5, 1.5, 2.0)
        found = dynamic_temperature(values, exponent=2.0, t_max=1.5, t_min=0.5)
        np.testing.assert_array_equal(found, expected)


OTHERS = {"loaded", "sample", "start_streams", "next_uniforms"}
"""`sample` joins other kernels: `tests/decoding/test_draw_plan.py` compares it with them. Random
numbers are NumPy's: `tests/decoding/test_random_stream.py` compares them."""

FILES = Path(corelm_samplers.__path__[0]).glob("[a-z]*.py")
OF_SAMPLERS = {
    name: value
    for module in (import_module(f"corelm_samplers.{file.stem}") for file in FILES)
    for name, value in vars(module).items()
    if hasattr(native_rows, name) and getattr(value, "__module__", "") == module.__name__
}
"""The definitions of kernels that are in the files of samplers, each of the kernel's name."""

DEFINITIONS = {
    **vars(distributions),
    **vars(divergences),
    **vars(filters),
    **OF_SAMPLERS,
    "draw": distributions.draw_checked,
    "apply_mask": masks._masked,
    "forbid_tokens": masks.forbid_tokens,
    "change_tokens": token_edits._change_tokens,
    "apply_temperature": distributions._divide,
}


WRONG = [
    *(("draw", u) for u in ([np.nan, 0.5], [-0.1, 0.5], [1.0, 0.5], [np.inf, 0.5], ["a", 0.5])),
    *(("draw", u) for u in ([None, 0.5], [True, 0.5], np.array([1, 0]), np.array([0.5, np.nan]))),
    *(("top_k", value) for value in (2.5, 2.0, None, "a", np.nan, 0, 41)),
    *(("within_nats", value) for value in (None, "a", np.nan, [0.5, None], ["a", "b"])),
    *(("apply_temperature", value) for value in (None, "a", np.nan, -1, [0.5, None])),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["kernel", "definition"])
@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_values_out_of_range_are_refused_by_kernel_and_definition(name, value, dtype):
    home = corelm if name in ("apply_temperature", "draw") else public_filters
    function = getattr(home, name)
    with pytest.raises(corelm.errors.UsageError, match=r"must be .*not "):
        function(np.zeros((2, 40), dtype), value)
