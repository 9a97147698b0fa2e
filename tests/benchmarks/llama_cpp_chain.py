"""Time of one token in llama.cpp, from the logits on: corelm's chain next to llama.cpp's own.

    python tests/benchmarks/llama_cpp_chain.py [--rounds 20] [--vocabulary 50257 128000]

The first chain is llama.cpp's default sampling, the preset `llama.cpp`. Each way draws the tokens
of a text from the same logits, the ways in turn. The table has the median processor time per token
in microseconds, and its ratio to llama.cpp's own chain; below 1 is faster. Everything runs on one
thread, as llama.cpp's samplers always do; processor time leaves out the time of other programs.
`as_sampler` is one sampler per row; `EngineSampler` has all rows at once, as in `corelm.generate`.
"C" is the sampler without Python. `as_logits_processor` runs in llama-cpp-python's loop, next to
that loop's own default stages.

It needs llama-cpp-python, gguf, the package plugins/corelm-llama-cpp, and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ["CORELM_THREADS"] = "1"  # before corelm starts its threads

import gguf
import llama_cpp as llama
import numpy as np
from corelm_llama_cpp import LlamaCppSampler, as_logits_processor, as_sampler
from llama_cpp_c import in_c, library

import corelm
from corelm.interop import EngineSampler

PROMPT, LENGTH = 64, 16
"""Tokens of the prompt and of a text."""
WIDTH = 32
CHAINS: dict[str, tuple[str, Callable[[int], list[Any]]]] = {
    "defaults": (
        corelm.presets()["llama.cpp"],
        lambda size: [
            llama.llama_sampler_init_penalties(size, 64, 1.0, 0.0, 0.0),
            llama.llama_sampler_init_top_n_sigma(-1.0),
            llama.llama_sampler_init_top_k(40),
            llama.llama_sampler_init_typical(1.0, 1),
            llama.llama_sampler_init_top_p(0.95, 1),
            llama.llama_sampler_init_min_p(0.05, 1),
            llama.llama_sampler_init_xtc(0.0, 0.1, 1, 0),
            llama.llama_sampler_init_temp(0.8),
        ],
    ),
    "min_p": (
        "min_p(p=0.05) | temperature(t=0.8)",
        lambda size: [
            llama.llama_sampler_init_min_p(0.05, 1),
            llama.llama_sampler_init_temp(0.8),
        ],
    ),
    "top_p": (
        "top_p(p=0.95) | temperature(t=0.8)",
        lambda size: [
            llama.llama_sampler_init_top_p(0.95, 1),
            llama.llama_sampler_init_temp(0.8),
        ],
    ),
    "typical": (
        "repetition_penalty(penalty=1.1, last=64) | typical(p=0.9) | temperature(t=0.8)",
        lambda size: [
            llama.llama_sampler_init_penalties(size, 64, 1.1, 0.0, 0.0),
            llama.llama_sampler_init_typical(0.9, 1),
            llama.llama_sampler_init_temp(0.8),
        ],
    ),
    "temperature": (
        "temperature(t=0.8)",
        lambda size: [llama.llama_sampler_init_temp(0.8)],
    ),
}
"""Each chain as an expression of corelm, and as a function from the size of the vocabulary to
llama.cpp's samplers, without the one that draws."""
TAKE_THE_TOKEN = {"temp": 0.0}
"""With a seed one token is left, which llama.cpp's greedy sampler takes fastest."""

IN_CHAIN = llama.llama_sampler_sample
SILENT = llama.llama_log_callback(lambda level, text, data: None)

IN_C = library()

HEADER = """\
| chain | vocabulary | rows | way | us per token | ratio |
|---|---:|---:|---|---:|---:|"""

Way = tuple[Callable[[], None], Callable[[], None]]
"""Start a text in each row; draw one token for each row."""


def write_gguf(path: Path, size: int, width: int = WIDTH, blocks: int = 1) -> None:
    """Write a network of random weights.

    Args:
        path: the file.
        size: the size of the vocabulary.
        width: of a token; by default the network is there for the place of its logits alone.
        blocks: the number of transformer blocks.
    """
    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(256)
    file.add_embedding_length(width)
    file.add_block_count(blocks)
    file.add_feed_forward_length(4 * width)
    file.add_head_count(max(width // 64, 1))
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(size)
    file.add_tokenizer_model("none")
    rng = np.random.default_rng(0)
    block = {f"attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
    block |= {"ffn_gate": (4 * width, width), "ffn_up": (4 * width, width)}
    block |= {"ffn_down": (width, 4 * width)}
    matrices = {f"blk.{i}.{name}": shape for i in range(blocks) for name, shape in block.items()}
    for name, shape in {"token_embd": (size, width), **matrices}.items():
        weights = rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(width / 8))
        file.add_tensor(f"{name}.weight", weights.astype(np.float16))
    norms = [f"blk.{i}.{name}" for i in range(blocks) for name in ("attn_norm", "ffn_norm")]
    for name in ("output_norm", *norms):
        file.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


class Logits:
    """A context of llama.cpp whose outputs are logits as of a language model.

    Args:
        llm: the model.
        rows: the number of texts.
    """

    def __init__(self, llm: llama.Llama, rows: int) -> None:
        self.size, self.rows = llm.n_vocab(), rows
        p = llama.llama_context_default_params()
        p.n_ctx, p.n_seq_max, p.n_batch, p.n_threads = 256 * rows, rows, rows, 1
        p.no_perf = True
        self.context = llama.llama_init_from_model(llm.model, p)
        batch = llama.llama_batch_init(rows, 0, 1)
        batch.n_tokens = rows
        for i in range(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = 0, 0, 1, 1
            batch.seq_id[i][0] = i
        assert llama.llama_decode(self.context, batch) == 0
        logits = llama.llama_get_logits(self.context)
        self.array = np.ctypeslib.as_array(logits, (rows, self.size))
        rng = np.random.default_rng(0)
        ranks = np.stack([rng.permutation(self.size) for _ in range(rows)])
        self.array[:] = rng.normal(0, 0.1, ranks.shape) - 1.4 * np.log(ranks + 1)


def chain(stages: list[Any]) -> Any:
    """Return a chain of llama.cpp that ends with llama.cpp's draw."""
    return in_chain(*stages, llama.llama_sampler_init_dist(1))


def in_chain(*stages: Any) -> Any:
    """Return a chain of llama.cpp, which keeps its list of candidates from token to token."""
    made = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for stage in stages:
        llama.llama_sampler_chain_add(made, stage)
    return made


MADE: list[Any] = []
"""The samplers of corelm, whose exceptions llama.cpp hides."""


def ours(expression: str, seed: int | None = None) -> Any:
    """Return corelm's sampler as a `llama_sampler`."""
    MADE.append(as_sampler(expression, seed=seed))
    return MADE[-1]


def native(logits: Logits, make: Callable[[], Any], sample: Callable[..., int] = IN_CHAIN) -> Way:
    """Return a way that draws with a `llama_sampler` for each row."""
    samplers = [make() for _ in range(logits.rows)]

    def start() -> None:
        for sampler in samplers:
            llama.llama_sampler_reset(sampler)
            for token in range(PROMPT):
                llama.llama_sampler_accept(sampler, token)

    def step() -> None:
        for i, sampler in enumerate(samplers):
            sample(sampler, logits.context, i)

    return start, step


def together(logits: Logits, expression: str) -> Way:
    """Return a way that draws for all rows at once."""
    engine = EngineSampler(expression, seed=1)
    texts: list[list[int]] = []

    def start() -> None:
        engine.reset()
        texts[:] = [list(range(PROMPT)) for _ in range(logits.rows)]

    def step() -> None:
        for text, token in zip(texts, engine.draw(logits.array, texts), strict=True):
            text.append(int(token))

    return start, step


def in_the_loop(llm: llama.Llama, logits: Logits, processor: Any = None) -> Way:
    """Return a way that draws with the sampler of llama-cpp-python's loop."""
    llm.input_ids[:PROMPT] = np.arange(PROMPT)
    options = {} if processor is None else TAKE_THE_TOKEN | {"logits_processor": [processor]}
    sampler = llm._init_sampler(**options)

    def start() -> None:
        llm.n_tokens = PROMPT

    def step() -> None:
        token = llama.llama_sampler_sample(sampler.sampler, logits.context, 0)
        llm.input_ids[llm.n_tokens] = token
        llm.n_tokens += 1

    return start, step


def ways(llm: llama.Llama, rows: int, name: str) -> dict[str, Way]:
    """Return the ways to draw with a chain, by name, llama.cpp's own first."""
    logits, (expression, stages) = Logits(llm, rows), CHAINS[name]
    compiled = in_c(IN_C, expression, logits.size)
    found = {
        "llama.cpp": native(logits, lambda: chain(stages(logits.size))),
        "as_sampler, llama.cpp draws": native(logits, lambda: chain([ours(expression)])),
        "as_sampler, seed": native(logits, lambda: ours(expression, 1)),
        "as_sampler(...).sample, seed": native(
            logits, lambda: ours(expression, 1), LlamaCppSampler.sample
        ),
        "C, corelm_llama_sample": native(logits, compiled, IN_C.corelm_llama_sample),
        "C, in a chain": native(logits, lambda: in_chain(compiled())),
        "EngineSampler, seed": together(logits, expression),
    }
    if rows == 1:
        if name == "defaults":
            found["llama-cpp-python"] = in_the_loop(llm, logits)
        processor = as_logits_processor(expression, seed=1)
        found["as_logits_processor, seed"] = in_the_loop(llm, logits, processor)
    return found


def measured(found: Mapping[str, Way], rounds: int, rows: int) -> dict[str, float]:
    """Return the median time per token of each way, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, (start, step) in found.items():
            start()
            for _ in range(LENGTH):
                before = time.thread_time()
                step()
                times[name].append((time.thread_time() - before) / rows * 1e6)
    for sampler in MADE:
        sampler.raise_error()
    return {name: statistics.median(values) for name, values in times.items()}


def lines(llm: llama.Llama, rows: int, name: str, rounds: int) -> Iterator[str]:
    """Measure a chain; yield the cells of each way."""
    times = measured(ways(llm, rows, name), rounds, rows)
    own = next(iter(times.values()))
    for way, value in times.items():
        yield f"{way} | {value:,.0f} | {value / own:.2f}"


def print_table(
    description: str,
    rounds: int,
    header: str,
    lines: Callable[[llama.Llama, int, str, int], Iterator[str]],
    **network: int,
) -> None:
    """Run the command line of a benchmark.

    Args:
        description: the docstring of the program.
        rounds: the default number of rounds.
        header: the titles of the table.
        lines: measures a chain on a model for a number of rows, in some rounds; yields the cells
            of each line of the table.
        network: the size of the network, as for `write_gguf`.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--vocabulary", type=int, nargs="*", default=[50_257, 128_000])
    options = parser.parse_args()
    llama.llama_log_set(SILENT, ctypes.c_void_p(0))
    print(header)
    for size in options.vocabulary:
        with tempfile.TemporaryDirectory() as folder:
            write_gguf(Path(folder, "model.gguf"), size, **network)
            llm = llama.Llama(str(Path(folder, "model.gguf")), n_ctx=256, verbose=False)
            for rows, name in itertools.product((1, 16), CHAINS):
                for cells in lines(llm, rows, name, options.rounds):
                    print(f"| {name} | {size:,} | {rows} | {cells} |", flush=True)


if __name__ == "__main__":
    print_table(__doc__, 20, HEADER, lines)
