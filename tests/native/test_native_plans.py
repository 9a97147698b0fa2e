"""No plan that is accepted crashes, or reads what nobody has written.

Random plans, most of them nearly right, are offered to `plan`; those that it accepts are run on
random arrays. `CORELM_FUZZ=100000 pytest tests/native/test_native_plans.py` tries a hundred
thousand of them; under the sanitizers of `.ci/sanitize` a bad access ends the process.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np
import pytest

from corelm import native

PLANS = int(os.environ.get("CORELM_FUZZ", "4000"))
REFUSED = (TypeError, ValueError, BufferError)
CONTEXT = 6
WIDTHS = (1, 2, 3, 4, 6, 12)


class RandomPlan:
    """Arguments of `plan`, right but for a few changes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.heads, self.size = self.choice((1, 2)), self.choice((1, 2, 3))
        self.shared = rng.random() < 0.3
        self.widths: list[object] = [0]
        self.nodes = self.reader()
        self.head_widths: list[object] = [self.widths[-1], self.width(), self.width()]
        self.head = [
            ("normalise", (0,), 1, self.floats(self.head_widths[0]), None, 1e-6),
            self.multiply((1,), 2, self.head_widths),
        ]
        self.head_widths[1] = self.head_widths[0]
        self.head[1] = self.multiply((1,), 2, self.head_widths)

    def choice(self, options):
        return options[self.rng.integers(len(options))]

    def width(self):
        return self.choice(WIDTHS)

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def value(self, width):
        self.widths.append(width)
        return len(self.widths) - 1

    def multiply(self, inputs, output, widths):
        units = widths[output]
        panels = self.floats(-(-units // 16), widths[inputs[0]], 16)
        bias = self.floats(units) if self.rng.random() < 0.5 else None
        return ("multiply", inputs, output, panels, bias, int(self.rng.integers(4)))

    def reader(self):
        """An embedding, then a few layers on the values before."""
        width = self.heads * self.size if self.shared else 3 * self.heads * self.size
        value = self.value(width)
        nodes = [("embed", (), value, self.floats(9, width), self.floats(CONTEXT, width), None)]
        for layer in range(self.rng.integers(1, 4)):
            inner = self.heads * self.size
            inputs = (value, value) if self.shared else (value,)
            attended = self.value(inner)
            nodes.append(("attend", inputs, attended, layer, 0, self.heads))
            value = self.value(width)
            nodes.append(self.multiply((attended,), value, self.widths))
            if self.rng.random() < 0.5:
                normed = self.value(width)
                nodes.append(("normalise", (value,), normed, self.floats(width), None, 1e-6))
                value = normed
        return nodes

    def change(self):
        """Change one entry of one node, one width, or the order of the nodes."""
        nodes = self.choice((self.nodes, self.head))
        widths = self.widths if nodes is self.nodes else self.head_widths
        kind = self.rng.integers(6)
        at = int(self.rng.integers(len(nodes)))
        if kind == 0:
            widths[self.rng.integers(len(widths))] = self.choice((-1, 0, 1, 2, 3, 5, 2**40, None))
        elif kind == 1:
            other = int(self.rng.integers(len(nodes)))
            nodes[at], nodes[other] = nodes[other], nodes[at]
        elif kind == 2 and len(nodes) > 1:
            del nodes[at]
        else:
            node = list(nodes[at])
            place = int(self.rng.integers(len(node)))
            node[place] = self.entry(node[place], len(widths))
            nodes[at] = tuple(node)

    def entry(self, entry, values):
        """Something else of the same kind, or of another."""
        if isinstance(entry, tuple):
            return tuple(
                int(self.rng.integers(-1, values + 1)) for _ in range(self.choice((0, 1, 2, 3)))
            )
        if isinstance(entry, np.ndarray) and self.rng.random() < 0.8:
            axis = int(self.rng.integers(entry.ndim))
            return np.repeat(entry, self.choice((0, 2)), axis=axis)
        return self.choice((None, -1, 0, 1, 2, 3, 2**70, "attend", "embed", 0.5, self.floats(4)))

    def arguments(self):
        return tuple(self.nodes), tuple(self.widths), tuple(self.head), tuple(self.head_widths)

    def step(self):
        """Window, cache shape, new tokens, wanted logits and mask, that usually fit the plan."""
        rng = self.rng
        batch, time = int(rng.integers(0, 3)), int(rng.integers(0, CONTEXT + 2))
        added = int(rng.integers(0, time + 2)) if rng.random() < 0.2 else max(time - 1, 0)
        asked = int(rng.integers(0, added + 1))
        shape = (batch, self.choice((1, 3, 3, 3)), 1 if self.shared else 2, self.heads, CONTEXT)
        shape = (*shape, self.size)
        if rng.random() < 0.2:
            shape = tuple(self.choice((0, size, size + 1)) for size in shape)
        mask = np.ones((1, batch, added, time), bool) if rng.random() < 0.3 else None
        window = rng.integers(0, 9 if rng.random() < 0.9 else 12, (batch, time))
        return window, shape, added, asked, mask

    def run(self, planned, step, fill):
        """Run it where nothing that is not written has the same content twice."""
        window, shape, added, asked, mask = step
        cache = np.full(shape, fill, np.float32)
        cache[:, :, :, :, : max(window.shape[1] - added, 0)] = 1
        batch = len(window)
        outputs = np.full((batch, added, self.wide(self.head_widths[0])), fill, np.float32)
        logits = np.full((batch, asked, self.wide(self.head_widths[-1])), fill, np.float32)
        perturb_malloc(int(fill))
        try:
            native.kernels.run(planned, window, cache, mask, outputs, logits)
        finally:
            perturb_malloc(0)
        return outputs, logits

    def wide(self, width):
        return width if isinstance(width, int) and 0 <= width < 100 else 1


def perturb_malloc(byte):
    """Have the C library fill what it allocates, where it can."""
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(-6, byte)  # M_PERTURB of glibc


LIBC = ctypes.CDLL(None) if os.name == "posix" else None


def test_random_plans_are_refused_or_run():
    """What an accepted plan returns does not depend on what was in memory before."""
    rng = np.random.default_rng(int(os.environ.get("CORELM_FUZZ_SEED", "0")))
    accepted = ran = 0
    for _ in range(PLANS):
        made = RandomPlan(rng)
        for _ in range(rng.integers(0, 3)):
            made.change()
        try:
            planned = native.kernels.plan(*made.arguments())
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
        native.kernels.plan(nodes, widths, *HEAD)
        return
    with pytest.raises((TypeError, ValueError), match=message):
        native.kernels.plan(nodes, widths, *HEAD)


def test_two_embeddings_with_positions_of_their_own():
    """The shorter one bounds the window."""
    nodes = (EMBED, ("embed", (), 2, f(9, 4), f(3, 4), None), (*EMBED[:2], 3, *EMBED[3:]))
    join = ("multiply", (3, 2), 4, f(1, 12, 16), None, 0)
    planned = native.kernels.plan((*nodes, join), (0, 12, 4, 12, 4), *HEAD)
    cache = f(1, 1, 1, 1, 9, 1)
    native.kernels.run(planned, np.zeros((1, 3), int), cache, None, f(1, 3, 4), f(1, 0, 9))
    with pytest.raises(ValueError, match="length of the window is 4, expected at most 3"):
        native.kernels.run(planned, np.zeros((1, 4), int), cache, None, f(1, 4, 4), f(1, 0, 9))
