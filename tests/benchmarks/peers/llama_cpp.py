"""llama.cpp through llama-cpp-python: the weights as a GGUF file, parallel sequences in a batch."""

from __future__ import annotations

import ctypes
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp as llama
import numpy as np

from corelm.models.export.gguf import files
from corelm.models.networks.base import Architecture
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
        self._model = opened(gpt2.SHAPE, precision)
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
        self.samplers = [_sampler(seed) for seed in range(size)]
        p = llama.llama_context_default_params()
        p.n_ctx = gpt2.SHAPE.context_length * size
        p.n_batch = p.n_ubatch = p.n_seq_max = size
        p.n_threads = p.n_threads_batch = int(threads)
        p.flash_attn_type = int(flash == "on")
        p.type_k = p.type_v = cache
        p.no_perf = True
        if place == "inside":
            self._inside = _configured(self.samplers)
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

    def draw(self, sample: Callable[..., int] = llama.llama_sampler_sample) -> list[int]:
        """Draw a token for every sequence."""
        return [sample(sampler, self._context, i) for i, sampler in enumerate(self.samplers)]

    def logits(self) -> np.ndarray:
        """The scores of the first sequence."""
        scores = llama.llama_get_logits_ith(self._context, 0)
        return np.ctypeslib.as_array(scores, (gpt2.SHAPE.vocabulary_size,)).copy()


def in_chain(*stages: Any) -> Any:
    """Return a chain of llama.cpp."""
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for stage in stages:
        llama.llama_sampler_chain_add(chain, stage)
    return chain


def _sampler(seed: int) -> Any:
    draw = llama.llama_sampler_init_dist(seed)
    return in_chain(llama.llama_sampler_init_temp(TEMPERATURE), draw)


def _configured(samplers: Sequence[int]) -> ctypes.Array[llama.llama_sampler_seq_config]:
    """The samplers of the sequences, for the graph."""
    array = (llama.llama_sampler_seq_config * len(samplers))()
    for i, sampler in enumerate(samplers):
        array[i].seq_id, array[i].sampler = i, ctypes.cast(sampler, ctypes.c_void_p)
    return array


SILENT = llama.llama_log_callback(lambda level, text, data: None)


def opened(shape: Architecture, precision: str) -> Any:
    """Return llama.cpp's model of a network, converted by llama.cpp to a type of `TYPES`."""
    llama.llama_log_set(SILENT, ctypes.c_void_p(0))
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path, converted = Path(folder, "f32.gguf"), Path(folder, f"{precision}.gguf")
        path.write_bytes(files(gpt2.bundle(shape), gpt2.vocabulary(shape)))
        if converted != path:
            parameters = llama.llama_model_quantize_default_params()
            parameters.ftype = TYPES[precision].file
            paths = os.fsencode(path), os.fsencode(converted)
            assert not llama.llama_model_quantize(*paths, ctypes.byref(parameters))
        parameters = llama.llama_model_default_params()
        parameters.use_mmap = False  # the file goes
        model = llama.llama_model_load_from_file(os.fsencode(converted), parameters)
    assert model
    return model


def peer(precision: str) -> LlamaCpp:
    """llama.cpp in `f32`, `f16` or `q8_0`."""
    return LlamaCpp(precision)
