"""No accepted plan crashes or reads uninitialised memory.

`plan` gets random plans, most of them nearly valid, and the accepted ones run on random arrays.
`CORELM_FUZZ=100000 pytest tests/native/test_native_plans.py` tries a hundred thousand of them;
under the sanitizers of `.ci/sanitize` an invalid access ends the process.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from compiled_kernels import kernels
from random_plans import REFUSED, RandomPlan

PLANS = int(os.environ.get("CORELM_FUZZ", "4000"))


@pytest.mark.slow
def test_random_plans_are_refused_or_run():
    """What an accepted plan returns does not depend on what was in memory before."""
    rng = np.random.default_rng(int(os.environ.get("CORELM_FUZZ_SEED", "0")))
    accepted = ran = 0
    for _ in range(PLANS):
        made = RandomPlan(rng)
        for _ in range(rng.integers(0, 3)):
            made.change()
        try:
            planned = kernels.plan(*made.arguments())
        except REFUSED:
            continue
        accepted += 1
        for _ in range(2):
            step = made.step()
            try:
                first = made.run(planned, step, fill=85)
            except REFUSED:
                continue
            ran += 1
            for one, other in zip(first, made.run(planned, step, fill=170), strict=True):
                assert np.array_equal(one, other, equal_nan=True)
    assert accepted > PLANS / 10
    assert ran > PLANS / 10


def f(*shape):
    return np.zeros(shape, np.float32)


EMBED = ("embed", (), 1, f(9, 12), f(5, 12), None)
HEAD = (("multiply", (0,), 1, f(1, 4, 16), None, 0),), (4, 9)


@pytest.mark.parametrize(
    ("nodes", "widths", "message"),
    [
        ((EMBED,), (4, 12), "plan: widths: value 0 has width 4, expected 0: .* no input"),
        ((EMBED,), (0, 12, 0), "plan: widths: value 2 has width 0, expected at least 1"),
        (
            (("normalise", (0,), 1, f(12), None, 1e-6),),
            (0, 12),
            r"plan: node 0 \(normalise\): reads value 0, which no earlier node writes",
        ),
        (
            (EMBED, ("normalise", (2,), 3, f(12), None, 1e-6)),
            (0, 12, 12, 12),
            r"plan: node 1 \(normalise\): reads value 2, which no earlier node writes",
        ),
        (
            (EMBED, ("normalise", (1,), 2, f(5), None, 1e-6)),
            (0, 12, 12),
            r"plan: node 1 \(normalise\): scale has length 5, expected 12",
        ),
        (
            (EMBED, ("normalise", (1,), 2, f(12).astype("f8"), None, 1e-6)),
            (0, 12, 12),
            r"\(normalise\): scale: expected a 1-D float32 array, got 1-D float64",
        ),
        (
            (EMBED, ("attend", (1,), 2, 0, 0, 3)),
            (0, 12, 4),
            r"plan: node 1 \(attend\): 3 heads do not divide a width of 4",
        ),
        (
            (EMBED, ("attend", (1,), 2, 0, 0, 2)),
            (0, 12, 6),
            r"plan: node 1 \(attend\): the input has width 12, expected 18",
        ),
        (
            (EMBED, ("attend", (1,), 2, 0, 0, 2), ("attend", (1,), 3, 1, 0, 1)),
            (0, 12, 4, 4),
            r"plan: node 2 \(attend\): needs a cache of shape \(..., 2, 1, context, 4\), but an",
        ),
        ((EMBED, ("attend", (1,), 2, 0, 0, 2)), (0, 12, 4), ""),
        (
            (EMBED, ("multiply", (1,), 2, f(1, 12, 16), None, 4)),
            (0, 12, 4),
            r"plan: node 1 \(multiply\): activation: expected a number from 0 to 3, got 4",
        ),
        ((EMBED,), (0, 12), "plan: the head's input has width 4, expected 12"),
        ((EMBED[:5],), (0, 12), "plan: node 0: expected a tuple of 6 entries"),
    ],
)
def test_a_refusal_says_what_was_expected(nodes, widths, message):
    if not message:
        kernels.plan(nodes, widths, *HEAD)
        return
    with pytest.raises((TypeError, ValueError), match=message):
        kernels.plan(nodes, widths, *HEAD)


class Described:
    """An object whose description needs the interpreter, which checks that no error is set."""

    def __repr__(self):
        return "described in " + str(len("five!")) + " letters"


def test_a_refusal_shows_any_object():
    multiply = ("multiply", (1,), 2, f(1, 12, 16), None, Described())
    with pytest.raises(ValueError, match="expected a number from 0 to 3, got described in 5 l"):
        kernels.plan((EMBED, multiply), (0, 12, 4), *HEAD)


def test_two_embeddings_with_positions_of_their_own():
    """The shorter one bounds the window."""
    nodes = (EMBED, ("embed", (), 2, f(9, 4), f(3, 4), None), (*EMBED[:2], 3, *EMBED[3:]))
    join = ("multiply", (3, 2), 4, f(1, 12, 16), None, 0)
    planned = kernels.plan((*nodes, join), (0, 12, 4, 12, 4), *HEAD)
    cache = f(1, 1, 1, 1, 9, 1)
    kernels.run(planned, np.zeros((1, 3), int), cache, None, f(1, 3, 4), f(1, 0, 9))
    with pytest.raises(ValueError, match="length of the window is 4, expected at most 3"):
        kernels.run(planned, np.zeros((1, 4), int), cache, None, f(1, 4, 4), f(1, 0, 9))
