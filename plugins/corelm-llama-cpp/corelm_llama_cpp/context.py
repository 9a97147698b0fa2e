"""A context of llama.cpp: its key/value cache, and passes of the network, also between draws."""

import ctypes
import time
import weakref
from contextlib import contextmanager

import numpy as np

from corelm.errors import CorelmError
from corelm.runs import machine
from corelm_llama_cpp.library import free, llama, logged
from corelm_llama_cpp.threads import ThreadChoice

try:
    from corelm_llama_cpp import passes
except ImportError:  # there was no compiler
    passes = None

FIELDS = ["n_tokens", "token", "embd", "pos", "n_seq_id", "seq_id", "logits"]
"""Those of the `llama_batch` that `passes` knows."""


def can_draw_ahead():
    """Return True if `passes` was compiled, and knows the batches of this llama.cpp."""
    batch = llama.llama_batch
    return (
        passes is not None
        and ctypes.sizeof(batch) == passes.BATCH_SIZE
        and [name for name, *_ in batch._fields_] == FIELDS
    )


class Passes:
    """Passes over a token more of each sequence, from the tokens of a batch on.

    Args:
        context: the `llama_context`.
        batch: the `llama_batch` of the first pass; the arrays that it points into are overwritten.
        order: (tokens,) the row of each of its tokens.
        vocabulary: the number of logits.
        count: the largest number of passes.

    Attributes:
        capsule: for the kernels.
    """

    def __init__(self, context, batch, order, vocabulary, count):
        self._report = np.zeros(3)
        context, decode, get_logits = map(
            _address, (context, llama.llama_decode, llama.llama_get_logits_ith)
        )
        self.capsule = passes.new_passes(
            decode, get_logits, context, batch, order, self._report, vocabulary, count
        )

    @property
    def seconds(self):
        """The mean time of a pass."""
        return self._report[0] / max(self.count, 1)

    @property
    def count(self):
        """The number of passes that were made."""
        return int(self._report[1])

    @property
    def failure(self):
        """The code that llama.cpp returned last; 0 if nothing failed."""
        return int(self._report[2])


def _address(pointer):
    return ctypes.cast(pointer, ctypes.c_void_p).value


F32 = 0
NO_FLASH_ATTENTION = 0
NO_POOLING = 0
PASS = 512
"""The most tokens in a pass of the network, unless it has one token of each text."""


class Context:
    """A `llama_context` for a number of texts, each a sequence with a number.

    It computes in single precision, without flash attention: half precision rounds, so that the
    logits of a text would depend on how many tokens are processed at a time.

    Args:
        pointer: the `llama_model`.
        vocabulary: the model's, which keeps the `llama_model` alive.
        width: the length of a hidden state.
        texts: the largest number of sequences.
        positions: the largest number of tokens in a sequence.

    Raises:
        CorelmError: too little memory.
    """

    def __init__(self, pointer, vocabulary, width, texts, positions):
        self.texts, self.positions = texts, positions
        self.at_once = max(PASS, texts)
        self.widths = len(vocabulary), width
        self._vocabulary = vocabulary
        p = llama.llama_context_default_params()
        p.n_ctx, p.n_seq_max = positions * texts, texts
        p.n_batch = p.n_ubatch = self.at_once
        p.type_k = p.type_v = F32
        p.flash_attn_type, p.pooling_type = NO_FLASH_ATTENTION, NO_POOLING
        p.kv_unified, p.no_perf = False, True  # each text has its own part of the cache
        with logged():
            self._pointer = llama.llama_init_from_model(pointer, p)
        if not self._pointer:
            raise CorelmError(
                f"llama.cpp has too little memory for {texts} texts of {positions} tokens; "
                "ask for fewer or shorter ones"
            )
        self._memory = llama.llama_get_memory(self._pointer)
        self._threads, self._number = ThreadChoice(machine.facts()["cores"]), None
        self._batch, self._hidden = _Batch(self.at_once), False
        self.free = weakref.finalize(self, free, llama.llama_free, self._pointer)

    def process(self, ids, sequences, positions, wanted, hidden):
        """Run one pass of the network, and append tokens to their sequences.

        llama.cpp processes sequences together only if their numbers come in ascending order and
        without gaps; otherwise it evaluates the network several times.

        Args:
            ids: (tokens,) at most `at_once`.
            sequences: (tokens,) the sequence of each.
            positions: (tokens,) the position of each in its sequence.
            wanted: (tokens,) True for those whose outputs are returned.
            hidden: return hidden states too.

        Returns:
            The logits, (wanted tokens, vocabulary), and the hidden states, (wanted tokens, width).
            The next call overwrites them.

        Raises:
            CorelmError: llama.cpp failed.
        """
        # With hidden states llama.cpp returns the outputs of every token.
        batch = self._batch.of(ids, sequences, positions, wanted | hidden)
        with self._prepared(len(ids), hidden) as number:
            started = time.perf_counter()
            failure = llama.llama_decode(self._pointer, batch)
            self._threads.note(len(ids), number, time.perf_counter() - started)
        _check(failure, len(ids))
        getters = (llama.llama_get_logits, llama.llama_get_embeddings)[: 1 + hidden]
        rows = len(ids) if hidden else int(wanted.sum())
        results = [
            np.ctypeslib.as_array(get(self._pointer), (rows, width))
            if rows
            else np.empty((0, width))
            for get, width in zip(getters, self.widths, strict=False)
        ]
        return [outputs[wanted] for outputs in results] if hidden else results

    def pass_seconds(self, tokens):
        """Return the time of a pass with this many tokens; None before the first one."""
        return self._threads.seconds(tokens)

    def draw_ahead(self, block, ids, sequences, positions, order):
        """Draw tokens, with a pass over one token of each sequence before each draw.

        Args:
            block: the tokens to draw, as `corelm.interop.DrawsAhead` prepares them.
            ids: (rows,) the tokens of the first pass.
            sequences: (rows,) as for `process`.
            positions: (rows,) the positions of the tokens.
            order: (rows,) the row of the block that each belongs to.

        Returns:
            How many tokens of each row were drawn, and the number of passes.

        Raises:
            CorelmError: llama.cpp failed.
        """
        size = len(ids)
        batch = self._batch.of(ids, sequences, positions, np.ones(size, dtype=bool))
        passes = Passes(self._pointer, batch, order, self.widths[0], len(block))
        with self._prepared(size, hidden=False) as number:
            drawn = block.draw(passes.capsule)
            self._threads.note(size, number, passes.seconds)
        _check(passes.failure, size)
        return drawn, passes.count

    @contextmanager
    def _prepared(self, tokens, hidden):
        """Prepare for passes of this many tokens; yield the number of threads that they take."""
        with logged():
            if hidden != self._hidden:
                llama.llama_set_embeddings(self._pointer, hidden)
                self._hidden = hidden
            number = self._threads.of(tokens)
            if number != self._number:  # llama.cpp logs each call
                llama.llama_set_n_threads(self._pointer, number, number)
                self._number = number
            yield number

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


def _check(failure, tokens):
    if failure:
        raise CorelmError(f"llama.cpp could not process {tokens} tokens (code {failure})")


class _Batch:
    """A `llama_batch` and the arrays that it points into, for any number of tokens.

    Args:
        most: the largest number of tokens.
    """

    def __init__(self, most):
        self._fields = {
            "token": np.zeros(most, np.int32),
            "pos": np.zeros(most, np.int32),
            "n_seq_id": np.ones(most, np.int32),
            "seq_id": np.zeros(most, np.uintp),
            "logits": np.zeros(most, np.int8),
        }
        self._numbers = np.zeros(most, np.int32)  # `seq_id` points at these
        first, size = self._numbers.ctypes.data, self._numbers.itemsize
        self._fields["seq_id"][:] = first + size * np.arange(most, dtype=np.uintp)
        kinds = dict(llama.llama_batch._fields_)
        pointers = {
            name: ctypes.cast(array.ctypes.data, kinds[name])
            for name, array in self._fields.items()
        }
        self._batch = llama.llama_batch(n_tokens=0, **pointers)

    def of(self, ids, sequences, positions, outputs):
        """Return the `llama_batch` of these tokens, which the next call overwrites."""
        size = self._batch.n_tokens = len(ids)
        self._fields["token"][:size], self._fields["pos"][:size] = ids, positions
        self._fields["logits"][:size], self._numbers[:size] = outputs, sequences
        return self._batch
