"""The next-token distributions of a batch, before and after the sampler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corelm.numerics.distributions import Array
from corelm.stages import Trace, allowed_tokens, rows_that_fell_back


@dataclass(frozen=True, eq=False)
class Distributions:
    """The next-token distributions of a batch, before and after the sampler.

    Attributes:
        model_logits: (batch, vocabulary) the model's logits; tokens that are never drawn are at
            minus infinity.
        logits: (batch, vocabulary) the sampler's logits.
        allowed: (batch, vocabulary) the tokens that the sampler's masks allow; None without masks.
        fell_back: (batch,) True where the stages before a mask kept nothing that it allows; None
            without masks.
    """

    model_logits: Array
    logits: Array
    allowed: NDArray[np.bool_] | None = None
    fell_back: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, model_logits: Array, logits: Array, trace: Trace | None) -> Distributions:
        """Return the distributions, with the results of the masks in the sampler's trace."""
        if trace is None:
            return cls(model_logits, logits)
        allowed = allowed_tokens(trace, logits.shape)
        return cls(model_logits, logits, allowed, rows_that_fell_back(trace, len(logits)))

    def select(self, rows: NDArray[np.int64]) -> Distributions:
        """Return the distributions of some rows, in this order."""
        parts = (self.model_logits, self.logits, self.allowed, self.fell_back)
        return Distributions(*(part if part is None else part[rows] for part in parts))  # type: ignore[arg-type]
