"""A model's logits as a decoder sees them: valid, without the tokens that are never drawn."""

from __future__ import annotations

import numpy as np

from corelm.decoding.step import model_surprisals
from corelm.errors import ModelOutputError
from corelm.language_model import Vocabulary, never_drawn
from corelm.numerics.arrays import is_masked
from corelm.numerics.distributions import Array, mask_tokens
from corelm.validation import check_logits

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class ModelLogits:
    """Validate a model's logits and mask the tokens that are never drawn.

    Args:
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.
    """

    def __init__(self, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self._size = len(vocabulary)
        self._never = never_drawn(vocabulary, unknown)

    surprisals = staticmethod(model_surprisals)
    """The surprisals of any tokens under such logits."""

    def __call__(self, logits: Array, step: int) -> Array:
        """Return the logits with padding, and [UNK] unless allowed, at minus infinity.

        Args:
            logits: (batch, vocabulary), float32 or float64, of a session: the caller owns them, so
                they may be overwritten here.
            step: the number of tokens drawn so far, for messages.

        Raises:
            ModelOutputError: a different shape or dtype, or a row that is not a distribution.
        """
        if is_masked(logits):
            raise ModelOutputError(
                "the model's logits must be a plain array, not a MaskedArray; "
                "set tokens that are never drawn to minus infinity"
            )
        logits = np.asarray(logits)
        shape, dtype = logits.shape, logits.dtype
        if len(shape) != 2 or shape[1] != self._size or dtype not in FLOATS:
            raise ModelOutputError(
                f"the model's logits must be (batch, {self._size}) in float32 or float64, "
                f"not {shape} in {dtype}"
            )
        if not logits.flags.writeable:
            logits = logits.copy()
        # In place, as a session's caller may: a copy of 64 rows of 15,000 tokens takes 0.7 ms more.
        # The pass that masks validates the rows too; the slower check only names the fault.
        if not mask_tokens(logits, self._never):
            check_logits(logits, f"the model's logits at step {step}")
        return logits
