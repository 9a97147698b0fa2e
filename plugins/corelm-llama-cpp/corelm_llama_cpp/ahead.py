"""Passes of llama.cpp that corelm's kernels call between draws, where they can be made."""

import ctypes

import numpy as np

from corelm_llama_cpp.library import llama

try:
    from corelm_llama_cpp import passes
except ImportError:  # there was no compiler
    passes = None

FIELDS = ["n_tokens", "token", "embd", "pos", "n_seq_id", "seq_id", "logits"]
"""Those of the `llama_batch` that `passes` knows."""


def is_possible():
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
