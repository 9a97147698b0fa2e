"""A context of llama.cpp: its key/value cache, and passes of the network."""

import ctypes
import weakref

import numpy as np

from corelm.errors import CorelmError, UsageError
from corelm.runs import machine
from corelm_llama_cpp.library import free, llama, logged

F32 = 0
NO_FLASH_ATTENTION = 0
NO_POOLING = 0
PASS = 512
"""The most tokens in a pass of the network, unless it has one token of each text."""
MOST_TEXTS = 256
"""The largest number of sequences in a context of llama.cpp."""


class Context:
    """A `llama_context` for a number of texts, each a sequence with a number.

    It computes in single precision, without flash attention: half precision rounds, so that the
    logits of a text would depend on how many tokens are processed at a time.

    Args:
        model: a `LlamaCppModel`.
        texts: the largest number of sequences.
        positions: the largest number of tokens in a sequence.

    Raises:
        UsageError: too many texts for llama.cpp.
        CorelmError: too little memory.
    """

    def __init__(self, model, texts, positions):
        if texts > MOST_TEXTS:
            raise UsageError(f"llama.cpp decodes at most {MOST_TEXTS} texts at a time, not {texts}")
        self.texts, self.positions = texts, positions
        self._model = model
        p = llama.llama_context_default_params()
        p.n_ctx, p.n_seq_max = positions * texts, texts
        p.n_batch = p.n_ubatch = max(PASS, texts)
        p.n_threads = p.n_threads_batch = machine.facts()["cores"]
        p.type_k = p.type_v = F32
        p.flash_attn_type, p.pooling_type = NO_FLASH_ATTENTION, NO_POOLING
        p.kv_unified, p.no_perf = False, True  # each text has its own part of the cache
        with logged():
            self._pointer = llama.llama_init_from_model(model.pointer, p)
        if not self._pointer:
            raise CorelmError(
                f"llama.cpp has too little memory for {texts} texts of {positions} tokens; "
                "ask for fewer or shorter ones"
            )
        self._memory = llama.llama_get_memory(self._pointer)
        self.free = weakref.finalize(self, free, llama.llama_free, self._pointer)

    def process(self, tokens, sequences, positions, wanted, hidden):
        """Run one pass of the network, and append the tokens to the sequences.

        Args:
            tokens: (batch, time) ids, at most `PASS` or one for each text.
            sequences: the numbers of the texts.
            positions: (batch,) the position of the first token of each.
            wanted: return outputs for this many tokens at the end of each row.
            hidden: return hidden states too.

        Returns:
            The logits, (batch, wanted, vocabulary), and the hidden states, (batch, wanted, width).

        Raises:
            CorelmError: llama.cpp failed.
        """
        # With hidden states llama.cpp returns the outputs of every token.
        kept = tokens.shape[1] if hidden else wanted
        batch, arrays = _batch(tokens, sequences, positions, kept)
        with logged():
            llama.llama_set_embeddings(self._pointer, hidden)
            failure = llama.llama_decode(self._pointer, batch)
        del arrays  # only after the pass
        if failure:
            raise CorelmError(f"llama.cpp could not process {tokens.size} tokens (code {failure})")
        getters = [(llama.llama_get_logits, len(self._model.vocabulary))]
        if hidden:
            getters.append((llama.llama_get_embeddings, self._model.width))
        shape = len(tokens), kept
        return tuple(
            np.ctypeslib.as_array(get(self._pointer), (*shape, width))[:, kept - wanted :].copy()
            for get, width in getters
        )

    def drop(self, sequence, position=0):
        """Drop the tokens of a sequence from a position on; return False if the network can't."""
        return llama.llama_memory_seq_rm(self._memory, sequence, position, -1)

    def fork(self, source, target):
        """Replace a sequence by a copy of another one."""
        self.drop(target)
        llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def clear(self):
        """Drop all sequences."""
        llama.llama_memory_clear(self._memory, False)


def _batch(tokens, sequences, starts, wanted):
    """Return a `llama_batch` of (batch, time) tokens, and the arrays that it points into."""
    batch, time = tokens.shape
    ids = tokens.astype(np.int32).ravel()
    positions = (starts[:, None] + np.arange(time)).astype(np.int32).ravel()
    one = np.ones(tokens.size, dtype=np.int32)
    numbers = np.repeat(np.array(sequences, dtype=np.int32), time)
    addresses = numbers.ctypes.data + numbers.itemsize * np.arange(tokens.size, dtype=np.uintp)
    flags = np.tile(np.arange(time) >= time - wanted, batch).astype(np.int8)
    fields = {
        "token": ids,
        "pos": positions,
        "n_seq_id": one,
        "seq_id": addresses,
        "logits": flags,
    }
    kinds = dict(llama.llama_batch._fields_)
    pointers = {name: ctypes.cast(a.ctypes.data, kinds[name]) for name, a in fields.items()}
    return llama.llama_batch(n_tokens=tokens.size, **pointers), (*fields.values(), numbers)
