"""A corelm sampler as a logits processor of llama-cpp-python."""

import numpy as np

from corelm.interop import EngineSampler
from corelm_llama_cpp.generation import current, sampling_frame
from corelm_llama_cpp.library import hold


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
    top_k=0, top_p=1.0, min_p=0.0`, or its own defaults change the distribution further.

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
    return LogitsProcessor(EngineSampler(sampler, seed=seed, vocabulary=vocabulary, record=record))
