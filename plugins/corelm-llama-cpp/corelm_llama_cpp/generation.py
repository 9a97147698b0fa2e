"""The generation of llama-cpp-python that calls a logits processor."""

import ctypes
import sys
import weakref

import numpy as np

from corelm_llama_cpp.library import free, llama

RECORD = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""

_SAMPLE = llama.Llama.sample.__code__


class Generation:
    """A generation with a processor.

    Args:
        chain: the `LlamaSampler` that llama-cpp-python makes for each generation.
        grammar: a `GrammarMask`, or None.
    """

    def __init__(self, chain, grammar):
        self._chain, self._grammar = weakref.ref(chain), grammar
        self._length = None  # the length of the text at the last step

    def is_of(self, chain):
        """Return True for the chain of this generation."""
        return self._chain() is chain

    def masked(self, ids, logits):
        """Return (vocabulary,) logits in which tokens that the grammar refuses have -infinity."""
        if self._grammar is None:
            return logits
        if self._length is not None and len(ids) > self._length:
            self._grammar.accept(int(ids[self._length]))
        self._length = len(ids)
        return self._grammar.apply(logits)


class GrammarMask:
    """A grammar of llama.cpp that masks logits before a corelm sampler sees them.

    Args:
        llm: the `llama_cpp.Llama`.
        grammar: a `llama_cpp.LlamaGrammar`.
    """

    def __init__(self, llm, grammar):
        vocabulary = llama.llama_model_get_vocab(llm.model)
        texts = grammar._grammar.encode(), grammar._root.encode()
        self._pointer = llama.llama_sampler_init_grammar(vocabulary, *texts)
        weakref.finalize(self, free, llama.llama_sampler_free, self._pointer)

    def accept(self, token):
        """Continue after a token that the grammar allows."""
        llama.llama_sampler_accept(self._pointer, token)

    def apply(self, logits):
        """Return the logits in which tokens that the grammar refuses have minus infinity."""
        records = np.zeros(len(logits), RECORD)
        records["id"], records["logit"] = np.arange(len(logits)), logits
        kind = ctypes.POINTER(llama.llama_token_data)
        data = ctypes.cast(records.ctypes.data, kind)
        candidates = llama.llama_token_data_array(data, len(logits), -1, False)
        llama.llama_sampler_apply(self._pointer, ctypes.byref(candidates))
        masked = np.full_like(logits, -np.inf)
        rest = records[: candidates.size]
        masked[rest["id"]] = rest["logit"]
        return masked


def sampling_frame():
    """Return the frame of llama-cpp-python that draws a token; None outside its loop."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not _SAMPLE:
        frame = frame.f_back
    return frame


def current(last):
    """Find the running generation on the stack; return it, and the length of its text.

    llama-cpp-python doesn't show a processor that a text begins or that a grammar follows, and with
    a draft model it passes guesses as part of the text. So all three are read from its own frame on
    the stack. Outside a generation both results are None.

    Args:
        last: the generation of the previous step, which is returned if it continues.
    """
    frame = sampling_frame()
    if frame is None:
        return None, None
    variables = frame.f_locals
    chain, grammar = variables["self"]._sampler, variables.get("grammar")
    if chain is None or variables.get("tmp_sampler"):  # a chain for a single token
        return None, None
    index = variables.get("idx")
    length = None if index is None else index + 1
    if last is not None and last.is_of(chain):
        return last, length
    return Generation(chain, grammar and GrammarMask(variables["self"], grammar)), length
