"""Time samplers on the arrays of torch and JAX: by the kernels, and by the library's own functions.

    pip install -e ".[bench]"
    python tests/benchmarks/native.py [--seconds 0.4]

A sampler's definition runs in the library that the logits come from, for torch as it is and for JAX
compiled by `jax.jit`. On a processor, corelm lends the same memory to its kernels instead. They
take turns, and the median of each is reported in microseconds, with the ratio: above 1 the kernels
are faster. JAX copies the kernels' result into an array of its own; that is included.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

import corelm
from corelm import machine, native
from samplers import Call, Input, in_turns

SAMPLERS = (
    "temperature(t=0.7)", "top_k(k=50)", "min_p(p=0.05)", "top_p(p=0.9)", "typical(p=0.9)",
    "temperature(t=0.7) | top_k(k=50) | top_p(p=0.9) | min_p(p=0.05)",
)  # fmt: skip
SIZES = ((50_257, 1), (50_257, 16), (128_000, 1), (128_000, 16))
EXPONENT = 1.4
"""Of the power of the rank by which the logits fall, as a language model's do about."""


def on_torch(sampler: corelm.Sampler, logits: np.ndarray) -> tuple[Call, Call]:
    """Return two calls on a tensor of torch: by the kernels, and by the definition in torch."""
    import torch

    tensor, context = torch.from_numpy(logits.copy()), corelm.Context.of([[5]] * len(logits))

    def by_definition() -> Any:
        kernels, native.kernels = native.kernels, None
        try:
            return sampler(tensor, context)
        finally:
            native.kernels = kernels

    return lambda: sampler(tensor, context), by_definition


def on_jax(sampler: corelm.Sampler, logits: np.ndarray) -> tuple[Call, Call]:
    """Return two calls on an array of JAX: by the kernels, and by the compiled definition."""
    import jax

    array, context = jax.numpy.asarray(logits), corelm.Context.of([[5]] * len(logits))
    compiled = jax.jit(lambda rows: sampler(rows, context))

    def by_kernels() -> Any:
        return jax.numpy.asarray(sampler(np.asarray(array), context)).block_until_ready()

    return by_kernels, lambda: compiled(array).block_until_ready()


LIBRARIES = {"torch": on_torch, "JAX": on_jax}


def difference(calls: Sequence[Call]) -> float:
    """Return the largest difference of a probability between the results of two calls."""
    first, second = (corelm.softmax(np.from_dlpack(call())) for call in calls)
    return float(np.abs(first - second).max())


def rows(options: argparse.Namespace) -> Iterator[str]:
    """Yield the rows of the table."""
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes]
    for expression in options.samplers:
        sampler = corelm.sampler(expression)
        for name, calls_on in LIBRARIES.items():
            cells = []
            for vocabulary, batch in sizes:
                calls = calls_on(sampler, Input.of(vocabulary, batch, EXPONENT).logits)
                assert difference(calls) < 1e-5, (expression, name)
                kernels, own = in_turns(list(calls), options.seconds)
                cells.append(f"{kernels:,.0f} / {own:,.0f} = **{own / kernels:.1f}**")
            yield f"| `{expression.replace('|', chr(92) + '|')}` | {name} | {' | '.join(cells)} |"


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.4, help="for each call")
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS)
    sizes = [f"{vocabulary}x{batch}" for vocabulary, batch in SIZES]
    parser.add_argument("--sizes", nargs="+", default=sizes, help="VOCABULARYxBATCH")
    return parser.parse_args(words)


def main() -> None:
    options, here = read_options(), machine.facts()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "jax"))
    print(f"{here['processor']}, {here['cores']} cores; Python {here['python']}, {packages}\n")
    print(f"| sampler | arrays of | {' | '.join(options.sizes)} |")
    print(f"|---|---{'|---:' * len(options.sizes)}|")
    for row in rows(options):
        print(row, flush=True)


if __name__ == "__main__":
    main()
