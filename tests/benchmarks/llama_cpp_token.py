"""Time of one token in llama.cpp, its network included: corelm's chain next to llama.cpp's own.

    python tests/benchmarks/llama_cpp_token.py [--rounds 10] [--vocabulary 50257 128000]

The network has the size of GPT-2 small, 12 blocks of width 768, with random weights in half
precision, on all cores. The ways write texts of the same length, in turns: llama.cpp's own chain,
corelm from Python, and corelm in C, from llama.cpp's logits or as a chain's sampler. The table has
the median time per step in milliseconds, for all rows together, and the ratio to llama.cpp's own.

It needs llama-cpp-python, gguf, the package plugins/corelm-llama-cpp, and a C compiler.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import llama_cpp as llama
from corelm_llama_cpp import LlamaCppSampler
from llama_cpp_c import in_c
from llama_cpp_chain import CHAINS, IN_C, chain, in_chain, ours, print_table

LENGTH = 16
"""Tokens of a text."""
HEADER = """\
| chain | vocabulary | rows | llama.cpp, ms | corelm in Python | corelm in C | in a chain, in C |
|---|---:|---:|---:|---:|---:|---:|"""


class Texts:
    """A context of llama.cpp with a text in each row.

    Args:
        llm: the model.
        rows: the number of texts.
    """

    def __init__(self, llm: llama.Llama, rows: int) -> None:
        self.rows, self._position = rows, 0
        p = llama.llama_context_default_params()
        p.n_ctx, p.n_seq_max, p.n_batch = 256 * rows, rows, rows
        p.n_threads = os.cpu_count() or 1
        p.no_perf = True
        self.context = llama.llama_init_from_model(llm.model, p)
        self._batch = llama.llama_batch_init(rows, 0, 1)

    def clear(self) -> None:
        """Begin every text with token 0."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        self._position = 0
        self.read([0] * self.rows)

    def read(self, tokens: list[int]) -> None:
        """Append a token to each text, and compute the logits of the next one."""
        batch = self._batch
        batch.n_tokens = self.rows
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, self._position
            batch.n_seq_id[i], batch.logits[i], batch.seq_id[i][0] = 1, 1, i
        assert llama.llama_decode(self.context, batch) == 0
        self._position += 1


def steps(texts: Texts, make: Callable[[], Any], sample: Callable[..., int]) -> list[float]:
    """Write texts with a sampler for each row; return the milliseconds of each step."""
    samplers, times = [make() for _ in range(texts.rows)], []
    texts.clear()
    for _ in range(LENGTH):
        before = time.perf_counter()
        tokens = [sample(sampler, texts.context, i) for i, sampler in enumerate(samplers)]
        texts.read(tokens)
        times.append((time.perf_counter() - before) * 1e3)
    return times


def measured(llm: llama.Llama, rows: int, name: str, rounds: int) -> list[float]:
    """Return the median time of a step with llama.cpp's chain and in each of corelm's ways."""
    texts, (expression, stages) = Texts(llm, rows), CHAINS[name]
    compiled = in_c(IN_C, expression, llm.n_vocab())
    ways: list[tuple[Callable[[], Any], Callable[..., int], list[float]]] = [
        (lambda: chain(stages(llm.n_vocab())), llama.llama_sampler_sample, []),
        (lambda: ours(expression, 1), LlamaCppSampler.sample, []),
        (compiled, IN_C.corelm_llama_sample, []),
        (lambda: in_chain(compiled()), llama.llama_sampler_sample, []),
    ]
    for _ in range(rounds):
        for make, sample, times in ways:
            times += steps(texts, make, sample)
    return [statistics.median(times) for _, _, times in ways]


def lines(llm: llama.Llama, rows: int, name: str, rounds: int) -> Iterator[str]:
    """Measure a chain; yield the cells of its line."""
    own, *others = measured(llm, rows, name, rounds)
    yield " | ".join([f"{own:.2f}", *(f"{each:.2f} = **{each / own:.3f}**" for each in others)])


if __name__ == "__main__":
    print_table(__doc__, 10, HEADER, lines, width=768, blocks=12)
