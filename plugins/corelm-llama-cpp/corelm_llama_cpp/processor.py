"""A corelm sampler as a logits processor of llama-cpp-python, and the generation that calls it."""

import ctypes
import sys
import weakref

import numpy as np

from corelm.interop import EngineSampler
from corelm_llama_cpp.library import free, hold, llama, logger

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
        self.chain, self._grammar = weakref.ref(chain), grammar
        self._length = None  # the length of the text at the last step

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
    if last is not None and last.chain() is chain:
        return last, length
    return Generation(chain, grammar and GrammarMask(variables["self"], grammar)), length


class LogitsProcessor:
    """A logits processor of llama-cpp-python that applies a corelm sampler.

    An exception can't pass through llama.cpp: in the loop of llama-cpp-python it is raised once
    llama.cpp has returned, so that it ends the text.

    A generation begins a text, also where its prompt continues the text before. The tokens that
    `grammar=` of llama-cpp-python refuses are masked before the sampler. Guesses of a `draft_model`
    change no text.

    Attributes:
        error: the first exception of a call outside that loop; None if there was none.
    """

    def __init__(self, engine):
        self.error, self._engine = None, engine
        self._generation = None

    def __call__(self, input_ids, scores):
        """Return the logits of the next token, (vocabulary,).

        Args:
            input_ids: (time,) ids of the text so far.
            scores: (vocabulary,) logits of the model.

        Raises:
            CorelmError: as `corelm.interop.EngineSampler`.
        """
        try:
            generation, length = current(self._generation)
            input_ids = input_ids[:length]  # guesses of a draft model follow
            if generation is not None and generation is not self._generation:
                self._engine.reset()
            self._generation = generation
            logits = np.ascontiguousarray(scores)
            if generation is not None:
                logits = generation.masked(input_ids, logits)
            return self._engine(logits[None], [input_ids])[0]
        except BaseException as error:
            if sampling_frame():
                hold(error)
                return scores
            self.error = self.error or error
            raise

    def raise_error(self, *_):
        """Raise the first exception, and forget it; return False if there was none.

        For a loop that prints exceptions of a processor and goes on without them.
        """
        error, self.error = self.error, None
        if error is not None:
            raise error
        return False


def as_logits_processor(sampler, *, seed=None, vocabulary=None, record=None):
    """Return a logits processor for `logits_processor=` of llama-cpp-python.

    With a seed it draws, and llama.cpp can only choose the token drawn: the text is the one of
    `corelm.generate` with the same seed. Without a seed llama.cpp draws; pass `temperature=1.0,
    top_k=0, top_p=1.0, min_p=0.0`, or its own defaults change the distribution further. A warning
    in the log says so for a sampler that tosses a coin.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to llama.cpp.
        vocabulary: a `LlamaCppVocabulary`, for samplers that name words or the end of a text.
        record: is called with the `corelm.interop.EngineDraw` of each step, such as the `TokenLog`
            of corelm-replay; it needs a seed.

    Raises:
        UsageError: an expression that cannot be read, a seed below 0, or `record` without a seed.

    Example:
        >>> processor = as_logits_processor("top_k(k=1)")
        >>> processor(np.array([0, 2]), np.array([1, 3, 2], np.float32)).tolist()
        [-inf, 3.0, -inf]
    """
    engine = EngineSampler(sampler, seed=seed, vocabulary=vocabulary, record=record)
    engine.warn_of_coin(logger, "llama.cpp")
    return LogitsProcessor(engine)
