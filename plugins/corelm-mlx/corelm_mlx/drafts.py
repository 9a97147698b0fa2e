"""Draft models of mlx-lm, with which most samplers can't work."""

import sys

from corelm.errors import UsageError


def refuse_drafts(sampler):
    """Raise if mlx-lm calls the caller for a text with guesses of a draft model.

    mlx-lm then passes a text without its prompt, and calls processors and samplers for guesses as
    if they were drawn.

    Args:
        sampler: the sampler, for the message.

    Raises:
        UsageError: `generate` or `stream_generate` has a `draft_model`.
    """
    # No argument shows a draft model, so look for it in mlx-lm's frame on the stack.
    if sys._getframe(2).f_code.co_qualname.startswith("speculative_generate_step."):
        raise UsageError(
            f"{sampler} needs the text and draws it in order, but mlx-lm's draft model guesses "
            "ahead; generate without draft_model"
        )
