"""llama.cpp through llama-cpp-python: the weights as a GGUF file, parallel sequences in a batch."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import llama_cpp as llama
import numpy as np

from corelm.models.export.gguf import files
from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

CORES = os.cpu_count() or 1
F32, F16 = 0, 1
"""Types of the key/value cache."""


class Type(NamedTuple):
    """A type of weights: llama.cpp's number of the files, and the type of the cache for them."""

    file: int
    cache: int


TYPES = {"f32": Type(0, F32), "f16": Type(1, F16), "q8_0": Type(7, F16)}


class LlamaCpp(Peer):
    """llama.cpp with weights of a type, and a cache in single or half precision.

    It is tried with one thread and with one for each core, with flash attention and without, and
    with the samplers after the network or inside its graph.
    """

    def __init__(self, precision: str) -> None:
        self._cache = TYPES[precision].cache
        self._log = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self._log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = write_gguf(folder, precision)
        parameters = llama.llama_model_default_params()
        self._model = llama.llama_model_load_from_file(os.fsencode(path), parameters)
        assert self._model
        self._batches: dict[tuple[str, int], Batch] = {}

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        batch = self._batch(self.ways(1)[0], 1)
        for position, token in enumerate(prompt):
            batch.read(position, token, wanted=True)
        return batch.logits()

    def ways(self, batch: int) -> list[str]:
        threads = sorted({1, CORES})
        return [
            f"threads: {n}, flash attention: {flash}, samplers: {place}"
            for n, flash, place in itertools.product(threads, ("off", "on"), ("after", "inside"))
        ]

    def write(self, way: str, batch: int, length: int) -> None:
        texts = self._batch(way, batch)
        texts.forget()
        for position, token in enumerate(IDS):
            texts.read(position, token, wanted=position == len(IDS) - 1)
        for position in range(len(IDS), len(IDS) + length - 1):
            texts.read(position, texts.draw(), wanted=True)
        texts.draw()

    def _batch(self, way: str, batch: int) -> Batch:
        if (way, batch) not in self._batches:
            self._batches[way, batch] = Batch(self._model, way, batch, self._cache)
        return self._batches[way, batch]


class Batch:
    """Sequences that are decoded together, in one of the `ways` of `LlamaCpp`."""

    def __init__(self, model: int, way: str, size: int, cache: int) -> None:
        threads, flash, place = (part.split(": ")[1] for part in way.split(", "))
        self._size = size
        self._samplers = [_sampler(seed) for seed in range(size)]
        p = llama.llama_context_default_params()
        p.n_ctx = gpt2.SHAPE.context_length * size
        p.n_batch = p.n_ubatch = p.n_seq_max = size
        p.n_threads = p.n_threads_batch = int(threads)
        p.flash_attn_type = int(flash == "on")
        p.type_k = p.type_v = cache
        p.no_perf = True
        if place == "inside":
            self._inside = _configured(self._samplers)
            p.samplers, p.n_samplers = self._inside, size
        self._context = llama.llama_init_from_model(model, p)
        assert self._context
        self._batch = llama.llama_batch_init(size, 0, 1)
        self._batch.n_tokens = size
        for i in range(size):
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = i
        fields = (self._batch.token, self._batch.pos, self._batch.logits)
        self._tokens, self._positions, self._wanted = (
            np.ctypeslib.as_array(field, (size,)) for field in fields
        )

    def forget(self) -> None:
        """Start the texts again."""
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)

    def read(self, position: int, tokens: int | list[int], wanted: bool) -> None:
        """Read a token of every sequence; wanted says whether scores are needed after it."""
        self._tokens[:], self._positions[:], self._wanted[:] = tokens, position, wanted
        failed = llama.llama_decode(self._context, self._batch)
        assert not failed

    def draw(self) -> list[int]:
        """A token for every sequence."""
        sample, context = llama.llama_sampler_sample, self._context
        return [sample(sampler, context, i) for i, sampler in enumerate(self._samplers)]

    def logits(self) -> np.ndarray:
        """The scores of the first sequence."""
        scores = llama.llama_get_logits_ith(self._context, 0)
        return np.ctypeslib.as_array(scores, (gpt2.SHAPE.vocabulary_size,)).copy()


def _sampler(seed: int) -> int:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(TEMPERATURE))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(seed))
    return chain


def _configured(samplers: Sequence[int]) -> ctypes.Array[llama.llama_sampler_seq_config]:
    """The samplers of the sequences, for the graph."""
    array = (llama.llama_sampler_seq_config * len(samplers))()
    for i, sampler in enumerate(samplers):
        array[i].seq_id, array[i].sampler = i, ctypes.cast(sampler, ctypes.c_void_p)
    return array


def write_gguf(folder: Path, precision: str) -> Path:
    """Write the network into a folder, with llama.cpp's own conversion to a type of `TYPES`."""
    path, converted = folder / "f32.gguf", folder / f"{precision}.gguf"
    path.write_bytes(files(gpt2.bundle(), gpt2.vocabulary()))
    if converted == path:
        return path
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = TYPES[precision].file
    paths = os.fsencode(path), os.fsencode(converted)
    failed = llama.llama_model_quantize(*paths, ctypes.byref(parameters))
    assert not failed
    return converted


def peer(precision: str) -> LlamaCpp:
    """llama.cpp in `f32`, `f16` or `q8_0`."""
    return LlamaCpp(precision)
