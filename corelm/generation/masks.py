"""The cost of a constraint: what the masks of a sampler leave of the model's distribution.

A sampler of the kind `mask` removes tokens by the context alone, as a grammar does. The product of
the masses that it leaves at each step is the factor by which the text became more likely than it
is to the model, so the sum of their -ln says how much the constraint distorts the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.context import Context
from corelm.decoding.step import Step
from corelm.errors import UsageError
from corelm.language_model import Vocabulary
from corelm.numerics.distributions import Array
from corelm.sampler import Sampler
from corelm.validation import run_stage


def acting_stages(
    sampler: Sampler, context: Context, branch: str = ""
) -> Iterator[tuple[Sampler, str]]:
    """Yield the stages that act in a context of one row, each with its branch.

    The branch names the samplers and parameters that chose a stage, such as `phase outside`.
    """
    for stage in sampler.stages:
        chosen = stage.acting(context)
        if chosen is stage:
            yield stage, branch
            continue
        names = (name for name, nested in stage.nested.items() if nested is chosen)
        path = f"{stage.name} {next(names, '')}".strip()
        yield from acting_stages(chosen, context, f"{branch}, {path}" if branch else path)


def has_masks(sampler: Sampler) -> bool:
    """Return True if a stage, or a sampler that a stage may choose, is a mask."""
    return any(
        stage.kind == "mask" or any(map(has_masks, stage.nested.values()))
        for stage in sampler.active_stages
    )


def allowed_by(mask: Sampler, model_logits: Array, context: Context) -> NDArray[np.bool_]:
    """Return the tokens that a mask allows in a context of one row: (vocabulary,)."""
    row = model_logits[None]
    allowed: NDArray[np.bool_] = run_stage(mask, row, row, context)[0] > -np.inf
    return allowed


def mass_of(tokens: NDArray[np.bool_], distribution: Array) -> float:
    """Return the probability of some tokens; of all of them it is exactly 1.

    Args:
        tokens: (vocabulary,), True for these tokens.
        distribution: (vocabulary,), the model's probabilities.

    Example:
        >>> mass_of(np.array([True, False, True]), np.array([0.5, 0.25, 0.25]))
        0.75
    """
    some = np.where(tokens, distribution, 0)
    return float(some.sum(dtype=np.float64) / distribution.sum(dtype=np.float64))


class ConstrainedText:
    """The effect of the masks of a sampler on one growing text.

    Args:
        sampler: the sampler or chain.
        vocabulary: the model's.
        prompt: the ids of the prompt.

    Attributes:
        masses: the model's probability of the tokens that the masks allow, at each token.
        fallbacks: the tokens at which the stages before a mask kept nothing that it allows.
    """

    def __init__(self, sampler: Sampler, vocabulary: Vocabulary, prompt: Sequence[int]) -> None:
        self._sampler, self._vocabulary = sampler, vocabulary
        self._prompt_length, self._tokens = len(prompt), list(prompt)
        self._surprisals: list[tuple[float, float]] = [(math.nan, math.nan)] * len(prompt)
        self.masses: list[float] = []
        self.fallbacks = 0

    @property
    def cost(self) -> float | None:
        """The sum of -ln of the masses, in nats; None if one of them is 0."""
        return sum((-math.log(mass) for mass in self.masses), 0.0) if all(self.masses) else None

    def add(self, step: Step, row: int) -> float:
        """Add the token of a step; return the model's probability of the tokens allowed there."""
        model_logits, context = step.model_logits[row], self._context()
        stages = self._stages_to_the_last_mask(context)
        logits, allowed, fell_back = model_logits[None], np.ones(len(model_logits), bool), False
        for at, stage in enumerate(stages, 1):
            if stage.kind == "mask":
                possible = allowed_by(stage, model_logits, context)
                fell_back |= not (possible & (logits[0] > -np.inf)).any()
                allowed &= possible
            if at < len(stages):
                logits = run_stage(stage, logits, model_logits[None], context)
        mass = mass_of(allowed, step.model_distribution[row])
        self.masses.append(mass)
        self.fallbacks += fell_back
        self._tokens.append(int(step.tokens[row]))
        self._surprisals.append((float(step.surprisal[row]), float(step.model_surprisal[row])))
        return mass

    def is_cut_off(self) -> bool:
        """Return True if the model has end tokens, and the masks allow none of them now."""
        ends, context = list(self._vocabulary.ends), self._context()
        logits = np.zeros(len(self._vocabulary), dtype=np.float32)
        masks = [s for s in self._stages_to_the_last_mask(context) if s.kind == "mask"]
        try:
            return bool(ends) and not all(
                allowed_by(mask, logits, context)[ends].any() for mask in masks
            )
        except UsageError:  # no token at all continues the text
            return True

    def _stages_to_the_last_mask(self, context: Context) -> list[Sampler]:
        stages = [stage for stage, _ in acting_stages(self._sampler, context)]
        stages = [stage for stage in stages if not stage.is_neutral]
        while stages and stages[-1].kind != "mask":
            stages.pop()
        return stages

    def _context(self) -> Context:
        surprisals = np.array(self._surprisals).reshape(-1, 2)
        return Context.of(
            [self._tokens],
            surprisal=surprisals[None, :, 0],
            model_surprisal=surprisals[None, :, 1],
            prompt_length=self._prompt_length,
            vocabulary=self._vocabulary,
        )
