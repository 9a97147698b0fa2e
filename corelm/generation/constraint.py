"""The cost of a constraint: how much of the model's distribution a sampler's masks allow.

A mask removes tokens by the context alone, as a grammar does. The product of the masses that it
leaves at each step is the factor by which the text became more likely than it is to the model, so
the sum of their -ln measures how much the constraint distorts the text. Each step has the tokens
that its masks allow, so nothing is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.chain_stages import Run, StageResult, masks_of
from corelm.contracts.context import Context, ContextBuilder
from corelm.contracts.language_model import Vocabulary
from corelm.contracts.sampling import Sampler
from corelm.contracts.step import Step, mass_of
from corelm.errors import UsageError


class ConstrainedText:
    """The effect of the masks of a sampler on one growing text.

    Args:
        sampler: the sampler or chain.
        vocabulary: the model's vocabulary.
        prompt: the ids of the prompt.

    Attributes:
        masses: the model's probability of the tokens that the masks allow, at each token.
        fallbacks: the tokens at which the stages before a mask kept nothing that it allows.
    """

    def __init__(self, sampler: Sampler, vocabulary: Vocabulary, prompt: Sequence[int]) -> None:
        self._sampler, self._vocabulary = sampler, vocabulary
        self._width = len(vocabulary)
        # With the surprisals, which a choice may read to decide which mask acts.
        ids = np.array(prompt, dtype=np.int64)
        self._past = ContextBuilder(ids, batch=1, vocabulary=vocabulary)
        self.masses: list[float] = []
        self.fallbacks: int = 0

    @property
    def cost(self) -> float | None:
        """The sum of -ln of the masses, in nats; None if one of them is 0 or nan."""
        if any(mass == 0 or math.isnan(mass) for mass in self.masses):
            return None
        return sum((-math.log(mass) for mass in self.masses), 0.0)

    def add(self, step: Step, row: int) -> float:
        """Add the token of a step; return the model's probability of the tokens allowed there.

        It is nan for a step without `allowed`, such as a step that a decoder built itself.
        """
        mass = math.nan
        if step.allowed is not None:
            mass = mass_of(step.allowed[row], step.model_distribution[row])
        self.masses.append(mass)
        self.fallbacks += step.fell_back is not None and bool(step.fell_back[row])
        # An engine's model may have more logits than tokens.
        self._width = step.model_logits.shape[-1]
        self._past.append(step.tokens[row], step.surprisal[row], step.model_surprisal[row])
        return mass

    def is_cut_off(self) -> bool:
        """Return True if the model has end tokens, and the masks allow none of them now.

        Raises:
            SamplerError: a mask failed.
        """
        # No step knows it: nothing was drawn after the last token.
        ends = list(self._vocabulary.ends)
        if not ends:
            return False
        try:
            return not allowed_next(self._sampler, self._past.context, self._width)[ends].any()
        except UsageError:  # no token at all continues the text
            return True


def allowed_next(sampler: Sampler, context: Context, size: int) -> NDArray[np.bool_]:
    """Return the tokens that all masks of a sampler allow next, without calling other stages.

    Args:
        sampler: a sampler or a chain.
        context: the past of one row.
        size: the number of logits in a row.

    Returns:
        (vocabulary,), True for these tokens; read-only.

    Raises:
        SamplerError, UsageError: a mask or a choice failed, as for `apply`.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> context = corelm.Context.of([[3, 4]], vocabulary=ToyModel().vocabulary, prompt_length=1)
        >>> allowed_next(corelm.sampler("min_length(n=2)"), context, 13).tolist()[:4]
        [True, True, False, True]
    """
    no_logits = np.zeros((1, size), dtype=np.float32)
    trace: list[StageResult] = []
    Run(no_logits, context, trace, masks_alone=True)(sampler, no_logits)
    allowed: NDArray[np.bool_] = masks_of(trace, no_logits.shape)[0][0]
    return allowed
