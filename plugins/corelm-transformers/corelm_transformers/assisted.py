"""The prompt of assisted decoding, where a text may lose tokens that a processor has seen."""

import inspect
import sys

from transformers.generation import GenerationMixin

GENERATE = inspect.unwrap(GenerationMixin.generate).__code__
ASSISTED = inspect.unwrap(GenerationMixin._assisted_decoding).__code__


def assisted_prompt_width():
    """Return the number of tokens in the prompt of assisted decoding; None in other loops.

    A processor isn't passed the length of the prompt. It is the width of the `input_ids` of the
    `generate` that runs the loop, which is found in the frames of the callers: the outermost one,
    since the assistant generates its candidates within it.
    """
    width, assisted, frame = None, False, sys._getframe(1)
    while frame is not None:
        if frame.f_code is ASSISTED:
            assisted = True
        elif frame.f_code is GENERATE and assisted:
            width = frame.f_locals["input_ids"].shape[1]
        frame = frame.f_back
    return width


def is_assistant():
    """Return True in the `generate` of an assistant, whose guesses another model checks."""
    assisted, calls, frame = False, 0, sys._getframe(1)
    while frame is not None:
        assisted = assisted or frame.f_code is ASSISTED
        calls += frame.f_code is GENERATE
        frame = frame.f_back
    return assisted and calls > 1
