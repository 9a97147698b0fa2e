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

import gguf
import llama_cpp as llama
import numpy as np

from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

CORES = os.cpu_count() or 1
NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_f": "output_norm",
}
"""The layers of GPT-2 as llama.cpp calls them."""
F32, F16 = 0, 1
"""Types of the key/value cache."""


class LlamaCpp(Peer):
    """llama.cpp in float32, or with weights and cache in float16.

    It is tried with one thread and with one for each core, with flash attention and without, and
    with the samplers after the network or inside its graph.
    """

    def __init__(self, half: bool) -> None:
        self._half = half
        self._log = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self._log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        write_gguf(folder / "gpt2.gguf", half)
        parameters = llama.llama_model_default_params()
        path = os.fsencode(folder / "gpt2.gguf")
        self._model = llama.llama_model_load_from_file(path, parameters)
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
            self._batches[way, batch] = Batch(self._model, way, batch, self._half)
        return self._batches[way, batch]


class Batch:
    """Sequences that are decoded together, in one of the `ways` of `LlamaCpp`."""

    def __init__(self, model: int, way: str, size: int, half: bool) -> None:
        threads, flash, place = (part.split(": ")[1] for part in way.split(", "))
        self._size = size
        self._samplers = [_sampler(seed) for seed in range(size)]
        p = llama.llama_context_default_params()
        p.n_ctx = gpt2.SHAPE.context_length * size
        p.n_batch = p.n_ubatch = p.n_seq_max = size
        p.n_threads = p.n_threads_batch = int(threads)
        p.flash_attn_type = int(flash == "on")
        p.type_k = p.type_v = F16 if half else F32
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


def write_gguf(path: Path, half: bool) -> None:
    """The weights as a GGUF file without a tokenizer."""
    a = gpt2.SHAPE
    file = gguf.GGUFWriter(path, "gpt2")
    file.add_context_length(a.context_length)
    file.add_embedding_length(a.width)
    file.add_block_count(a.blocks)
    file.add_feed_forward_length(a.dense)
    file.add_head_count(a.heads)
    file.add_layer_norm_eps(gpt2.EPSILON)
    file.add_vocab_size(a.vocabulary_size)
    file.add_tokenizer_model("none")
    types = gguf.LlamaFileType
    file.add_file_type(types.MOSTLY_F16 if half else types.ALL_F32)
    for name, array in gpt2.weights().items():
        file.add_tensor(_renamed(name), _turned(name, array, half))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _renamed(name: str) -> str:
    """`h.0.attn.c_attn.weight` as `blk.0.attn_qkv.weight`."""
    layer, _, part = name.rpartition(".")
    if not layer.startswith("h."):
        return f"{NAMES[layer]}.{part}"
    _, block, layer = layer.split(".", maxsplit=2)
    return f"blk.{block}.{NAMES[layer]}.{part}"


def _turned(name: str, array: np.ndarray, half: bool) -> np.ndarray:
    """Outputs first, as in GGUF; what is added stays in float32."""
    if name.startswith("h.") and array.ndim == 2:
        array = np.ascontiguousarray(array.T)
    halved = half and array.ndim == 2 and not name.startswith("wpe")
    return array.astype(np.float16) if halved else array


def peer(precision: str) -> LlamaCpp:
    """llama.cpp in `f32` or `f16`."""
    return LlamaCpp(half=precision == "f16")
