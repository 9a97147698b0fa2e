"""Calls of every kernel, with arguments that fit, nearly fit, or don't."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from compiled_kernels import kernels
from random_plans import REFUSED, RandomPlan

from corelm.native.rows import loaded

CALLS = 8
"""Calls for each input of the fuzzer."""
ALLOWED = (*REFUSED, MemoryError, OverflowError)
"""The ways to refuse an argument."""
EXTREMES = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, 1e38, -1e38, 1e-45, 5.0], np.float32)
NUMBERS = (0, 1, -1, 0.5, 1e300, np.inf, np.nan, 5e-324, 2**31, 2**63, None, "1", 3)


class RandomCall:
    """Arguments of one kernel on rows or on a layer; they fit but for a few changes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.batch, self.vocabulary = int(rng.integers(0, 4)), int(rng.choice([1, 7, 40, 129, 700]))
        self.units, self.width = int(rng.integers(1, 40)), int(rng.integers(1, 40))
        self.rows = self.floats(self.batch, self.vocabulary)

    def floats(self, *shape: int, dtype: str = "f4") -> np.ndarray:
        """Normal numbers, ties, or extremes."""
        values = self.rng.normal(0, 4, shape)
        if self.rng.random() < 0.3:
            values = np.round(values)
        if self.rng.random() < 0.3:
            values = np.where(
                self.rng.random(shape) < 0.5, self.rng.choice(EXTREMES, shape), values
            )
        with np.errstate(over="ignore"):
            return values.astype(dtype)

    def empty(self, *shape: int, dtype: str = "f4") -> np.ndarray:
        return np.full(shape, 7, dtype)

    def ids(self, count: int) -> np.ndarray:
        return self.rng.integers(0, self.vocabulary, count)

    def number(self) -> Any:
        usual = self.rng.random() < 0.7
        return float(self.rng.random()) if usual else NUMBERS[self.rng.integers(len(NUMBERS))]

    def arguments(self, name: str) -> list[Any]:
        """Arguments that fit."""
        rows, batch, vocabulary = self.rows, self.batch, self.vocabulary
        out, column = self.empty(batch, vocabulary), self.empty(batch, dtype="f8")
        half = "f2" if self.rng.random() < 0.5 else "f4"
        panels = self.floats(-(-self.units // 16), self.width, 16, dtype=half)
        x = self.floats(batch, self.width)
        made: dict[str, list[Any]] = {
            "pack": [self.floats(self.width, self.units, dtype=half), np.empty_like(panels)],
            "multiply": [x, panels, None, int(self.rng.integers(4)), None,
                         self.empty(batch, self.units)],
            "normalise": [x, self.floats(self.width), None, 1e-6, self.empty(batch, self.width)],
            "mask_tokens": [rows, self.ids(3), rows if self.rng.random() < 0.5 else out],
            "rows_are_valid": [rows],
            "apply_mask": [rows, self.mask(), self.floats(batch, vocabulary), out,
                           self.empty(batch, dtype="?")],
            "apply_temperature": [rows, self.per_row(), out],
            "draw": [rows, self.rng.random(batch), self.empty(batch, dtype="i8"), column],
            "sample": [rows, self.ids(2), rows, self.stages(), out, self.rng.random(batch),
                       self.empty(batch, dtype="i8"), column, *self.columns(3)],
            "surprisals": [rows, self.ids(batch), column],
            "min_and_shannon_entropy": [rows, column, column.copy()],
            "greedy": [rows, out],
            "within_nats": [rows, self.per_row(), out],
            "within_min_entropy": [rows, self.per_row(), self.number(), out],
            "top_k": [rows, int(self.rng.integers(1, vocabulary + 1)), out],
            "softmax": [rows, out],
            "quadratic": [rows, self.number(), self.number(), out],
            "peak_at": [rows, self.per_row(), self.number(), self.number(), self.number(),
                        out],
            "change_tokens": [rows, *self.edits(), self.number(), self.per_edit(), out],
            "subtract_counts": [rows, *self.edits(), self.number(), out],
            "forbid_tokens": [rows, *self.edits(), out],
            "xtc": [rows, self.number(), self.number(), self.ids(2), out],
            "logit_std": [rows, column],
            "edt": [rows, self.number(), self.number(), self.number(), out],
            "dynamic_temperature": [rows, self.number(), self.number(), self.number(), out],
            "log_softmax": [rows, out],
            "allow_tokens": [rows, self.mask(), out],
            "divergence": [rows, self.floats(batch, vocabulary), self.floats(batch, 4, dtype="f8"),
                           self.ids(batch), self.empty(batch, 11, dtype="f8")],
            "moments": [rows, self.floats(3, dtype="f8"), self.empty(batch, 3, 3, dtype="f8")],
        }  # fmt: skip
        return made.get(name) or [rows, self.number(), out]

    def columns(self, count: int) -> list[Any]:
        """Results of one number a row, some of which are not wanted."""
        made = (self.empty(self.batch, dtype="f8") for _ in range(count))
        return [column if self.rng.random() < 0.7 else None for column in made]

    def mask(self) -> np.ndarray:
        return self.rng.random((self.batch, self.vocabulary)) < self.rng.random()

    def edits(self) -> tuple[np.ndarray, Any]:
        """Ids, and whose they are."""
        each = int(self.rng.integers(0, 3))
        self.count = self.batch * each if self.rng.random() < 0.5 else int(self.rng.integers(0, 6))
        ids = self.rng.integers(-1, self.vocabulary + 1, self.count)
        rows = np.sort(self.rng.integers(0, max(self.batch, 1), self.count))
        return ids, rows if self.rng.random() < 0.5 else each

    def per_edit(self) -> Any:
        return self.number() if self.rng.random() < 0.5 else self.floats(self.count, dtype="f8")

    def per_row(self) -> Any:
        return self.number() if self.rng.random() < 0.5 else self.floats(self.batch, dtype="f8")

    def stages(self) -> tuple[Any, ...]:
        """Up to three stages, which fit but for a few changes."""
        made = [
            ("greedy",), ("apply_temperature", self.number()), ("within_nats", self.number()),
            ("top_k", int(self.rng.integers(1, self.vocabulary + 1))), ("top_p", self.number()),
            ("top_h", self.number()), ("typical", self.number()), ("tail_free", self.number()),
            ("quadratic", self.number(), self.number()),
            ("xtc", self.number(), self.number(), self.ids(2)),
            ("change_tokens", *self.edits(), self.number(), self.per_edit()),
            ("within_min_entropy", self.per_row(), self.number()), ("within_std", self.number()),
            ("peak_at", self.per_row(), self.number(), self.number(), self.number()),
            ("forbid_tokens", *self.edits()), ("subtract_counts", *self.edits(), self.number()),
            ("eta", self.number()), ("edt", self.number(), self.number(), self.number()),
            ("dynamic_temperature", self.number(), self.number(), self.number()),
            ("log_softmax",), ("allow_tokens", self.mask()), ("allow_tokens", self.mask()[:, 1:]),
            ("apply_temperature", self.per_row()), ("top_p",), ("top_p", 0.5, 0.5), (), "greedy",
        ]  # fmt: skip
        return tuple(made[self.rng.integers(len(made))] for _ in range(self.rng.integers(0, 10)))

    def misfit(self, argument: Any) -> Any:
        """Something else in the place of an argument."""
        if not isinstance(argument, np.ndarray):
            return self.number()
        kinds: list[Callable[[], Any]] = [
            lambda: argument[:-1],
            lambda: argument[..., :-1],
            lambda: argument[..., ::-1],
            lambda: argument.T,
            lambda: argument.astype(">f4"),
            lambda: argument.astype(self.rng.choice(["f2", "f4", "f8", "i8", "i4", "?"])),
            lambda: np.repeat(argument, 2, axis=int(self.rng.integers(argument.ndim))),
            lambda: argument[None],
            lambda: misaligned(argument),
            lambda: np.broadcast_to(argument, argument.shape),  # read-only
            lambda: np.full_like(argument, self.rng.choice([-1, 2**40])),
            self.number,
        ]
        with np.errstate(all="ignore"):
            return kinds[self.rng.integers(len(kinds))]()

    def call(self, name: str) -> None:
        arguments = self.arguments(name)
        for _ in range(self.rng.integers(0, 2)):
            at = int(self.rng.integers(len(arguments)))
            arguments[at] = self.misfit(arguments[at])
        if self.rng.random() < 0.03:
            arguments = arguments[:-1] if self.rng.random() < 0.5 else [*arguments, None]
        getattr(loaded(), name)(*arguments)


def misaligned(array: np.ndarray) -> np.ndarray:
    """The same array one byte further on."""
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.uint8)
    return np.ndarray(array.shape, array.dtype, moved.data)


ROW_AND_LAYER_KERNELS = [
    name
    for name in dir(kernels)
    if not name.startswith("_")
    and name not in ("PANEL", "MOST_STAGES", "plan", "run", "begin", "wait")
    and name not in ("window_pass", "draw_ahead", "begin_ahead", "end_ahead")
    and name not in ("use_cores", "use_vector_width")
]


def call_kernels(data: bytes) -> None:
    """Make calls that follow from the bytes: rows, layers, and a plan with steps."""
    rng = np.random.default_rng(list(data) or [0])
    loaded().use_vector_width(int(rng.choice([8, 16])))
    loaded().use_cores(int(rng.integers(1, 4)))
    for _ in range(CALLS):
        with contextlib.suppress(*ALLOWED):
            RandomCall(rng).call(str(rng.choice(ROW_AND_LAYER_KERNELS)))
    with contextlib.suppress(*ALLOWED):
        _run_a_plan(rng)


def _run_a_plan(rng: np.random.Generator) -> None:
    made = RandomPlan(rng)
    for _ in range(rng.integers(0, 3)):
        made.change()
    plan = loaded().plan(*made.arguments())
    for _ in range(2):
        step = made.step()
        made.run(plan, step, fill=85)
        started = loaded().begin(plan, *made.arrays(step, fill=85))
        if rng.random() < 0.7:  # a run that nobody waits for is dropped
            loaded().wait(started)
        with contextlib.suppress(*ALLOWED):
            _draw_ahead(rng, plan, made.arrays(made.step(), fill=85))


def _draw_ahead(rng: np.random.Generator, plan: object, arrays: tuple[np.ndarray, ...]) -> None:
    """Draw some tokens ahead, with at most one argument that doesn't fit."""
    window, cache, _, outputs, logits = arrays
    times = rng.integers(0, window.shape[1] + 2, len(window)) if rng.random() < 0.5 else None
    batch, count, size = len(window), int(rng.integers(1, 5)), logits.shape[2]
    each = [tuple(np.zeros((batch, size), "f4") for _ in range(count)) for _ in range(2)]
    arguments = [
        window, cache, np.zeros((batch, 1, outputs.shape[2]), "f4"), times,
        rng.random((count, batch)), np.zeros((count, batch), int), np.zeros((count, batch)),
        np.zeros((3, count, batch)), *each,
        np.arange(rng.integers(2)), (("apply_temperature", 0.5),), np.arange(rng.integers(3)),
    ]  # fmt: skip
    at = int(rng.integers(0, 2 * len(arguments)))
    if at < len(arguments):
        made = RandomCall(rng)
        arguments[at] = (
            made.misfit(arguments[at]) if at < 8 else rng.choice([None, (), 3, each[0][1:]])
        )
    passes = loaded().window_pass(plan, *arguments[:4], int(rng.integers(count, count + 2)))
    if rng.random() < 0.3:
        loaded().draw_ahead(passes, *arguments[4:])
        if rng.random() < 0.5:  # they can't be made again, but others can
            passes = loaded().window_pass(plan, *arguments[:4], count)
    run = loaded().begin_ahead(passes, *arguments[4:])
    if rng.random() < 0.7:
        loaded().end_ahead(run, bool(rng.random() < 0.5))
