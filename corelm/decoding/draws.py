"""Uniform numbers per (seed, prompt, sample, position), and the plan that draws with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.contracts.chain_stages import (
    StageResult,
    apply,
    masks_of,
    run_stages,
)
from corelm.contracts.context import Context, ListingContext, example_context
from corelm.contracts.language_model import Vocabulary
from corelm.contracts.sampling import Chain, KernelSampler, Mask, Sampler, Switch
from corelm.contracts.step import Drawn, Figures, ModelLogits, NextLogits
from corelm.contracts.validation import check_drawn, invalid_result
from corelm.errors import UsageError
from corelm.native import rows
from corelm.native.backend import FLOAT32
from corelm.numerics.distributions import Array, draw_checked
from corelm.numerics.masks import Forbidden, all_but

BLOCK = 64
"""Numbers taken at a time from each sample's generator: a call for each token would be slow."""


class RandomStream:
    """Uniform numbers for the samples of a run, by position.

    Each sample has its own generator, seeded by (seed, prompt index, sample index) alone. So
    sample 7 gets the same numbers alone, in a batch or on another worker, and under every sampler:
    samplers that are compared with one seed use common random numbers. Texts of different prompts
    have different numbers, so they are independent.

    Args:
        seed: a whole number, at least 0.
        samples: the indices of the samples, one per row.
        prompt: the index of their prompt in a run of several prompts, at least 0.

    Raises:
        UsageError: the seed or the prompt is not a whole number of at least 0.

    Example:
        >>> alone, together = RandomStream(1, [7]), RandomStream(1, range(64))
        >>> bool(alone.at(0)[0] == together.at(0)[7])
        True
    """

    def __init__(self, seed: int, samples: Sequence[int], prompt: int = 0) -> None:
        self.seed: int = whole_number("the seed", seed)
        self.prompt: int = whole_number("the prompt", prompt)
        self.samples: tuple[int, ...] = tuple(samples)
        self._next_block = _blocks(self.seed, self.prompt, self.samples)
        self._places = {sample: place for place, sample in enumerate(self.samples)}
        self._uniforms = np.empty((len(self.samples), 0))

    def __len__(self) -> int:
        return len(self.samples)

    @staticmethod
    def fresh_seed() -> int:
        """Return a random seed that is short enough to type again."""
        return int.from_bytes(os.urandom(4), sys.byteorder)

    def with_samples(self, samples: Sequence[int]) -> RandomStream:
        """Return the numbers of other samples of the same seed and prompt."""
        return RandomStream(self.seed, samples, self.prompt)

    def at(
        self, position: int, samples: NDArray[np.int64] | Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return (samples,) numbers in [0, 1) for a position.

        Args:
            position: 0 for the first token drawn.
            samples: the samples of the stream to return numbers for; all by default.
        """
        self._reach(position)
        places = self._places_of(self.samples if samples is None else samples)
        uniforms: NDArray[np.float64] = self._uniforms[places, position]
        return uniforms

    def following(
        self, position: int, samples: NDArray[np.int64] | Sequence[int]
    ) -> NDArray[np.float64]:
        """Return (samples, positions) numbers for a position and some after it.

        A loop over many streams takes its numbers from these arrays: to ask each stream for each
        position takes as long as to draw the tokens.

        Args:
            position: 0 for the first token drawn.
            samples: the samples of the stream to return numbers for.
        """
        if type(self).at is not RandomStream.at:  # a subclass has numbers of its own
            return self.at(position, samples)[:, None]
        self._reach(position)
        return self._uniforms[self._places_of(samples), position:]

    def _reach(self, position: int) -> None:
        """Draw numbers up to a position."""
        # Whole blocks in order, so that a number does not depend on the positions asked for before.
        while position >= self._uniforms.shape[1]:
            self._uniforms = np.concatenate([self._uniforms, self._next_block()], axis=1)

    def _places_of(self, samples: NDArray[np.int64] | Sequence[int]) -> NDArray[np.intp]:
        # Python's integers: numbers read one by one out of an array are slow to look up.
        wanted = samples.tolist() if isinstance(samples, np.ndarray) else samples
        return np.array([self._places[sample] for sample in wanted], dtype=np.intp)


def whole_number(name: str, value: int) -> int:
    """Return a whole number of at least 0; raise a `UsageError` for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise UsageError(f"{name} must be a whole number of at least 0, not {value!r}")
    return int(value)


def _blocks(seed: int, prompt: int, samples: tuple[int, ...]) -> Callable[[], NDArray[np.float64]]:
    """Return a function that takes the next (samples, BLOCK) numbers."""
    is_large = max(seed, prompt) >= 2**64 or not all(0 <= s < 2**63 for s in samples)
    if native.kernels is None or is_large:
        return partial(_block_of, [_generator(seed, prompt, sample) for sample in samples])
    # Not by `numpy.random`, whose import takes a tenth of a run.
    streams = rows.start_streams(seed, prompt, np.array(samples, dtype=np.int64))
    return partial(rows.next_uniforms, streams, BLOCK)


def _generator(seed: int, prompt: int, sample: int) -> np.random.Generator:
    # The pair is the seed: with the sum, sample 1 of seed 1 would repeat sample 0 of seed 2.
    first, *others = _words(seed)
    key: tuple[int, ...] = (prompt,) if prompt else ()
    if others:
        # The words of the entropy don't say where a number ends, so (2**32 + 1, 0) would repeat
        # (1, 1). The key of a large seed is longer than any other.
        key = (prompt % 2**32, prompt >> 32, *others)
    return np.random.default_rng(np.random.SeedSequence([first, sample], spawn_key=key))


def _words(number: int) -> list[int]:
    """Return the words of 32 bits of a number, the lowest first."""
    return [number % 2**32, *(_words(number >> 32) if number >> 32 else ())]


def _block_of(generators: Sequence[np.random.Generator]) -> NDArray[np.float64]:
    blocks = [generator.random(BLOCK) for generator in generators]
    return np.array(blocks).reshape(len(generators), BLOCK)


CONSTANT = {"vocabulary"}
"""The parts of the context that are the same at every step."""

NONE = np.empty(0, dtype=np.int64)

Calls = tuple[rows.Call, ...]


class DrawPlan:
    """A sampler's stages and the draw in few calls, with the bits of one call for each stage.

    The stages at the end of a chain that are nothing but kernels, and the draw, become one call: a
    decoding step of a small model takes less time than ten calls of NumPy. Text-dependent stages
    are evaluated each step and passed as kernel arguments; third-party samplers run first, one at a
    time.

    Args:
        sampler: the sampler or chain.
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.

    Attributes:
        prepare: validates and masks the model's logits.
        size: the number of logits in a row.
        never: the ids that are never drawn.
        stops: the ids that end a text.
        before: the stages that run one at a time, first; None without any.
        after: the other stages, which are one call with the draw where there are kernels.
        kernels: the kernels of the whole chain if they are the same at every step; else None.
        reads_model_surprisal: a stage reads what costs a pass over the vocabulary for each token.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> class Halved(corelm.Sampler):
        ...     '''Halve the logits.'''
        ...     def __call__(self, logits, context):
        ...         return logits / 2
        >>> chain = Halved() | corelm.sampler("top_k(k=2) | temperature(t=0.5)")
        >>> plan = DrawPlan(chain, ToyModel().vocabulary)
        >>> str(plan.before), str(plan.after), plan.kernels
        ('halved', 'top_k(k=2) | temperature(t=0.5)', None)
    """

    def __init__(self, sampler: Sampler, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self.prepare: ModelLogits = ModelLogits(vocabulary, unknown)
        self.never: NDArray[np.int64] = self.prepare.never
        self.stops: NDArray[np.int64] = np.array([*vocabulary.ends], dtype=np.int64)
        self._sampler = sampler
        self.size: int = len(vocabulary)
        stages = sampler.active_stages
        self.reads_model_surprisal: bool = any("model_surprisal" in each.reads for each in stages)
        example = example_context(vocabulary)
        examples = [calls_of([stage], example, self.size, longest=True) for stage in stages]
        # After a coin the stages act on each outcome, for which no call has arguments.
        first = len(stages) if sampler.has_branches else _first_of_last(examples)
        self.before: Sampler | None = Chain(stages[:first]) if first else None
        self.after: Sampler | None = Chain(stages[first:]) if stages[first:] else None
        # The stages of `after`, with their kernels where they don't depend on the text.
        self._stages: list[tuple[Sampler, Calls | None]] = [
            (stage, calls if stage.reads <= CONSTANT else None)
            for stage, calls in zip(stages[first:], examples[first:], strict=True)
        ]
        self._has_masks = sampler.has_masks
        constant = [calls for _, calls in self._stages if calls is not None]
        self.kernels: Calls | None = None
        if native.kernels and not self._has_masks and len(constant) == len(stages):
            self.kernels = tuple(chain.from_iterable(constant))

    def draw(
        self,
        logits: Array,
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
        measured: bool = False,
    ) -> Drawn:
        """Draw one token of each row.

        Args:
            logits: (batch, vocabulary) the model's, which are overwritten.
            uniforms: (batch,) numbers in [0, 1).
            context: returns the past of each row.
            measured: return the figures of the rows, which take less time now than later.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, its result is not a distribution, or the token drawn
                is one that the model rules out.
            UsageError: as for `corelm.contracts.chain_stages.apply`.
        """
        logits = self.prepare.check(logits, len(uniforms))
        if self.before is None and (
            drawn := self._in_one_call(logits, self.never, uniforms, context, measured)
        ):
            return drawn
        # Also after a call that found a row that is no distribution: what follows names the fault.
        past = context()
        trace: list[StageResult] | None = [] if self._has_masks else None
        result = model_logits = self.prepare(logits, past.position)
        drawn = None
        if self.before is not None:
            result = apply(self.before, model_logits, past, trace)
            drawn = self._in_one_call(result, NONE, uniforms, lambda: past, trace=trace)
        if drawn is None:
            if self.after is not None:
                result = run_stages(self.after, result, past, trace, model_logits)
            tokens, surprisal, valid = draw_checked(result, uniforms)
            if not valid:
                raise invalid_result(self._sampler._last_stage, result, past.position)
            of_masks = self._of_masks(trace, (), result.shape)
            drawn = Drawn(model_logits, result, tokens, surprisal, *of_masks)
        if drawn.logits is not model_logits:
            check_drawn(self._sampler, drawn.tokens, model_logits, repeat(past.position))
        return drawn._replace(model_logits=model_logits)

    def next(self, model_logits: Array, context: Context) -> NextLogits:
        """Return the next-token distributions; the caller checks the sampler's rows.

        Args:
            model_logits: (batch, vocabulary) the model's, prepared.
            context: the past of each row.
        """
        trace: list[StageResult] | None = [] if self._has_masks else None
        logits = run_stages(self._sampler, model_logits, context, trace)
        return NextLogits(model_logits, logits, *self._of_masks(trace, (), logits.shape))

    def _in_one_call(
        self,
        logits: Array,
        never: NDArray[np.int64],
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
        measured: bool = False,
        trace: Sequence[StageResult] | None = None,
    ) -> Drawn | None:
        """Return the draw from these logits of the model; None where it can't be one call."""
        # A third-party sampler may return an array that the kernels can't read, or not write into.
        if native.kernels is None or logits.dtype is not FLOAT32 or not logits.flags.carray:
            return None
        if (calls := self._calls(context)) is None:
            return None
        figures = Figures(*np.empty((3, len(logits)))) if measured else None
        wanted = figures or (None, None, None)
        out, tokens, surprisal, valid = rows.sample(logits, never, calls, uniforms, wanted)
        if not valid:  # such as a row of which a mask leaves nothing
            return None
        of_masks = self._of_masks(trace, calls, out.shape)
        return Drawn(logits, out, tokens, surprisal, *of_masks, figures)

    def _calls(self, context: Callable[[], Context]) -> Calls | None:
        """Return the kernels of a step; None if a stage is more than kernels at this step."""
        if self.kernels is not None:
            return self.kernels
        calls, past = Calls(), None
        for stage, of_stage in self._stages:
            if of_stage is None:
                past = context() if past is None else past
                of_stage = calls_of([stage], past, self.size)
            if of_stage is None:
                return None
            calls += of_stage
        return calls

    def _of_masks(
        self, trace: Sequence[StageResult] | None, calls: Calls, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Return the tokens that masks allow, and the rows that fell back, as `Drawn` has them.

        Args:
            trace: the stages that ran one at a time, if any.
            calls: the kernels, in which no row fell back.
            shape: (batch, vocabulary).
        """
        if not self._has_masks:
            return None, None
        forbidden = [Forbidden(*each) for name, *each in calls if name == "forbid_tokens"]
        allowed = all_but(forbidden, shape)
        for name, *each in calls:
            if name == "allow_tokens":
                allowed &= each[0]
        if not trace:
            return allowed, np.zeros(shape[0], dtype=bool)
        of_trace, fell_back = masks_of(trace, shape)
        return allowed & of_trace, fell_back


def calls_of(
    stages: Iterable[Sampler], context: Context, size: int, longest: bool = False
) -> Calls | None:
    """Return the kernels that do what stages do at a step; None if they do anything else.

    Args:
        stages: samplers that are no chains.
        context: the past of each row.
        size: the number of logits in a row.
        longest: of a switch, take the most kernels that any sampler of it may need.
    """
    calls = Calls()
    for stage in stages:
        try:
            of_stage = _calls_of(stage, context, size, longest) if stage._is_built_in else None
        except UsageError:  # such as a word that the vocabulary lacks: the stage by itself says so
            return None
        if of_stage is None:
            return None
        calls += of_stage
    return calls


def _calls_of(stage: Sampler, context: Context, size: int, longest: bool) -> Calls | None:
    if isinstance(stage, KernelSampler):
        kernels = stage.kernels(context, size)
        calls = [(getattr(function, "kernel", None), *others) for function, *others in kernels]
        return None if any(name is None for name, *_ in calls) else tuple(calls)
    if isinstance(stage, Mask):
        allowed = stage.allowed(ListingContext.like(context, size))
        if allowed is None:
            return ()
        is_list = isinstance(allowed, Forbidden)
        return (("forbid_tokens", *allowed) if is_list else ("allow_tokens", allowed),)
    if isinstance(stage, Switch):
        chosen = stage.choose(context)
        if not longest and any(each is not chosen[0] for each in chosen):
            return None
        chosen = [*chosen, *stage.nested.values()] if longest else chosen[:1]
        options = [calls_of(each.active_stages, context, size, longest) for each in chosen]
        calls_of_each = [option for option in options if option is not None]
        return max(calls_of_each, key=len) if len(calls_of_each) == len(options) else None
    return None


def _first_of_last(examples: Sequence[Calls | None]) -> int:
    """Return where the longest end of a chain that consists of kernels begins."""
    if native.kernels is None:
        return 0
    first, room = len(examples), native.kernels.MOST_STAGES
    while first and (calls := examples[first - 1]) is not None and room >= max(len(calls), 1):
        room -= max(len(calls), 1)
        first -= 1
    return first
