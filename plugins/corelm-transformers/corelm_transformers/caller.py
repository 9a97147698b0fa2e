"""The call of `generate` that a processor or a loop runs in.

transformers passes a processor neither its configuration nor the list that the processor is in,
and a custom loop no tokenizer. All three are in the frames that call.
"""

import sys

import numpy as np
from transformers import LogitsProcessorList

from corelm.errors import UsageError

WRAPPERS = 8
"""How many frames lie between `generate` and its caller at most: its decorators."""


def calling_list():
    """Return the frame of the processor list that calls; None in other code."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not LogitsProcessorList.__call__.__code__:
        frame = frame.f_back
    return frame


def config_of_loop(frame):
    """Return the generation config of the loop that called a list; None if it has no such name.

    Args:
        frame: the list's, of `calling_list`.
    """
    loop = frame.f_back
    if loop is None:
        return None
    values = loop.f_locals
    config = values.get("generation_config")
    if isinstance(values, dict) and loop.f_globals.get("__name__", "").startswith("transformers."):
        # Before Python 3.13 a function's frame keeps this copy, and with it the prompt's outputs.
        # Only there: in other code it may be in use, and at the top of a module it is no copy.
        values.clear()
    return config


def tokenizer_of_call(loop):
    """Return the tokenizer in the call `generate(custom_generate=loop, tokenizer=...)`, or None."""
    frame = sys._getframe(1)
    for _ in range(WRAPPERS):
        options = frame.f_locals.get("kwargs")
        if isinstance(options, dict) and options.get("custom_generate") is loop:
            return options.get("tokenizer")
        frame = frame.f_back
        if frame is None:
            break
    return None


def end_tokens(config, tokenizer, size):
    """Return the ids that end a text: the generation config's, or else the tokenizer's.

    Args:
        config: a `GenerationConfig`, or None.
        tokenizer: the model's, or None.
        size: the number of ids; a configuration may have others, such as -1, which end no text.
    """
    ends = getattr(config, "eos_token_id", None)
    ends = getattr(tokenizer, "eos_token_id", None) if ends is None else ends
    ids = [] if ends is None else [int(end) for end in np.atleast_1d(ends)]
    return list(dict.fromkeys(end for end in ids if 0 <= end < size))


class EndTokens:
    """The vocabulary of a model whose tokenizer isn't known: it names the ends and the start.

    Args:
        ends: the ids that end a text.
        start: the id at the beginning of a row that is no part of its text; None if there is none.
    """

    padding = unknown = None

    def __init__(self, ends, start=None):
        self.ends, self.start = tuple(ends), start

    def _needs_tokenizer(self, *_):
        raise UsageError("this sampler reads words: pass the tokenizer")

    __len__ = encode = decode = _needs_tokenizer
