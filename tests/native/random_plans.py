"""Random plans of networks, most of them nearly right, and steps to run them on."""

from __future__ import annotations

import ctypes
import os

import numpy as np
from compiled_kernels import kernels

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

    def arrays(self, step, fill):
        """Arrays of `run`, where nothing that is not written has the same content twice."""
        window, shape, added, asked, mask = step
        cache = np.full(shape, fill, np.float32)
        cache[:, :, :, :, : max(window.shape[1] - added, 0)] = 1
        batch = len(window)
        outputs = np.full((batch, added, self.wide(self.head_widths[0])), fill, np.float32)
        logits = np.full((batch, asked, self.wide(self.head_widths[-1])), fill, np.float32)
        return window, cache, mask, outputs, logits

    def run(self, planned, step, fill):
        """Run it where the memory that the C library gives is filled too."""
        arrays = self.arrays(step, fill)
        perturb_malloc(int(fill))
        try:
            kernels.run(planned, *arrays)
        finally:
            perturb_malloc(0)
        return arrays[-2:]

    def wide(self, width):
        return width if isinstance(width, int) and 0 <= width < 100 else 1


def perturb_malloc(byte):
    """Have the C library fill what it allocates, where it can."""
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(-6, byte)  # M_PERTURB of glibc


LIBC = ctypes.CDLL(None) if os.name == "posix" else None
