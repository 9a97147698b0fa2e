"""Find the generation that calls a processor or a loop.

transformers passes a processor neither the configuration nor the prompt, and a custom loop neither
the tokenizer nor the streamer, but all of these are in the callers' frames. Only this module reads
frames; `end_tokens` decides which ids end a text.
"""

import inspect
import sys
from dataclasses import dataclass

import numpy as np
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation import GenerationMixin
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from corelm.errors import UsageError

ASSISTED = inspect.unwrap(GenerationMixin._assisted_decoding).__code__
LOOKUP = inspect.unwrap(PromptLookupCandidateGenerator.get_candidates).__code__
WRAPPERS = 8
"""The most frames between `generate` and its caller: its decorators."""


@dataclass(frozen=True)
class Generation:
    """The generation loop that calls a processor.

    Attributes:
        config: its `GenerationConfig`, a new object in each `generate`; None if no caller has one.
        criteria: its stopping criteria.
        assisted: True if it may take tokens back.
        prompt_width: the number of tokens in its current input, in assisted decoding.
        guesses: True if an assistant calls, whose guesses this generation checks.
        translated: True if the assistant has another tokenizer, so its ids are translated.
    """

    config: GenerationConfig | None = None
    criteria: tuple = ()
    assisted: bool = False
    prompt_width: int | None = None
    guesses: bool = False
    translated: bool = False

    @classmethod
    def calling(cls):
        """Return the calling generation: the nearest caller that has a configuration.

        That is the loop, or `generate` if the loop uses other names. Frames in between, such as the
        search for candidates in a prompt, have none. An assistant's `generate` has one, but for its
        guesses, so it is skipped.
        """
        guesses = False
        for frame in _callers():
            config, values = _config_of(frame)
            if config is None:
                continue
            if config.is_assistant:
                guesses = True
                continue
            assisted = frame.f_code is ASSISTED
            return cls(
                config,
                tuple(values.get("stopping_criteria") or ()),
                assisted,
                values["input_ids"].shape[1] if assisted else None,
                guesses,
                guesses and values.get("assistant_tokenizer") is not None,
            )
        return cls()

    def end_tokens(self, tokenizer, size):
        """Return the ids that end its texts, as `end_tokens` does."""
        return end_tokens(self.config, tokenizer, size, self.criteria)


def end_tokens(config, tokenizer, size, criteria=()):
    """Return the ids that end a text.

    The stopping criteria decide, which `generate` makes from its configuration by default; without
    criteria the configuration does, and without both the tokenizer.

    Args:
        config: a `GenerationConfig`, or None.
        tokenizer: the model's, or None.
        size: the number of ids; a configuration may have others, such as -1, which end no text.
        criteria: the stopping criteria of a generation.
    """
    ids = [i for criterion in criteria for i in _ids(getattr(criterion, "eos_token_id", None))]
    ids = ids or _ids(getattr(config, "eos_token_id", None))
    ids = ids or _ids(getattr(tokenizer, "eos_token_id", None))
    return list(dict.fromkeys(end for end in ids if 0 <= end < size))


def _ids(ends):
    """Return ids as a list; transformers has them as a number, a list, a tensor or None."""
    ends = ends.tolist() if hasattr(ends, "tolist") else ends
    return [] if ends is None else [int(end) for end in np.atleast_1d(ends)]


def calling_list():
    """Return the calling processor list and the code that calls it; (None, None) without one."""
    for frame in _callers():
        if frame.f_code is LogitsProcessorList.__call__.__code__:
            return frame.f_locals["self"], frame.f_back and frame.f_back.f_code
    return None, None


def options_of_call(loop):
    """Return the options of the call `generate(custom_generate=loop, ...)`.

    transformers doesn't pass the tokenizer, the streamer and the assistant to the loop.
    """
    for _, frame in zip(range(WRAPPERS), _callers(), strict=False):
        options = frame.f_locals.get("kwargs")
        if isinstance(options, dict) and options.get("custom_generate") is loop:
            return options
    return {}


def _callers():
    """Yield the frames of the callers, the nearest first."""
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _config_of(frame):
    """Return the configuration in a function's frame and the frame's variables, or None."""
    # A test without a copy of the variables.
    if "generation_config" not in frame.f_code.co_varnames:
        return None, {}
    values = frame.f_locals
    variables = dict(values)
    if isinstance(values, dict) and frame.f_globals.get("__name__", "").startswith("transformers."):
        # Before Python 3.13 a function's frame keeps this copy, and so the prompt's outputs. Clear
        # it only there: other code may use it.
        values.clear()
    config = variables.get("generation_config")
    return (config if isinstance(config, GenerationConfig) else None), variables


class EndTokens:
    """The vocabulary of a model with an unknown tokenizer: only the end and start tokens.

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
