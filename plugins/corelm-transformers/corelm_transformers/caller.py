"""The generation that a processor or a loop runs in.

transformers passes a processor neither its configuration nor its prompt, and a custom loop neither
the tokenizer nor the streamer. All are in the frames that call. Everything that corelm reads there
is read in this module, so the ends of a text have one home: `end_tokens`.
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
"""How many frames lie between `generate` and its caller at most: its decorators."""


@dataclass(frozen=True)
class Generation:
    """The loop whose text a processor samples.

    Attributes:
        config: its `GenerationConfig`, an object of its own in each `generate`; None if no caller
            has one.
        criteria: its stopping criteria.
        assisted: it may take tokens back.
        prompt_width: the number of tokens in its input at the time, in assisted decoding.
        guesses: an assistant calls, whose guesses this generation checks.
        translated: the assistant's ids are those of another tokenizer.
    """

    config: GenerationConfig | None = None
    criteria: tuple = ()
    assisted: bool = False
    prompt_width: int | None = None
    guesses: bool = False
    translated: bool = False

    @classmethod
    def calling(cls):
        """Return the generation that calls: the nearest caller that has a configuration.

        That is the loop, or `generate` around a loop with other names. Frames between it and the
        processor, such as the search for candidates in a prompt, have none. An assistant's
        `generate` has one, but its ends and prompt are the guesses', so it is passed over.
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

    They are those of the stopping criteria, which `generate` makes from its configuration if its
    caller passes none; before there are any, the configuration's; or else the tokenizer's.

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
    """Return ids that transformers has as a number, a list, a tensor or None."""
    ends = ends.tolist() if hasattr(ends, "tolist") else ends
    return [] if ends is None else [int(end) for end in np.atleast_1d(ends)]


def calling_list():
    """Return the processor list that calls, and the code that calls it; None twice without one."""
    for frame in _callers():
        if frame.f_code is LogitsProcessorList.__call__.__code__:
            return frame.f_locals["self"], frame.f_back and frame.f_back.f_code
    return None, None


def options_of_call(loop):
    """Return the options of the call `generate(custom_generate=loop, ...)`.

    transformers keeps the tokenizer, the streamer and the assistant from the loop.
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
    """Return the configuration of a function's frame and its variables; None if it has none."""
    if "generation_config" not in frame.f_code.co_varnames:  # without a copy of its variables
        return None, {}
    values = frame.f_locals
    variables = dict(values)
    if isinstance(values, dict) and frame.f_globals.get("__name__", "").startswith("transformers."):
        # Before Python 3.13 a function's frame keeps this copy, and with it the prompt's outputs.
        # Only there: in other code it may be in use.
        values.clear()
    config = variables.get("generation_config")
    return (config if isinstance(config, GenerationConfig) else None), variables


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
