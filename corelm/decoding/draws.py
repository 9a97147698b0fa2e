"""Uniform numbers per (seed, prompt, sample, position), and the plan that draws with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.chain_stages import (
    StageResult,
    allowed_tokens,
    apply,
    rows_that_fell_back,
    run_stages,
)
from corelm.context import Context, ListingContext
from corelm.decoding.step import Drawn, Figures, ModelLogits
from corelm.errors import UsageError
from corelm.language_model import Vocabulary
from corelm.native import rows
from corelm.native.backend import FLOAT32
from corelm.numerics.distributions import Array, draw_checked
from corelm.numerics.masks import Forbidden, all_but
from corelm.sampling import Chain, KernelSampler, Mask, Sampler, Switch
from corelm.validation import check_drawn, invalid_result

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
        self.seed: int = _whole("seed", seed)
        self.prompt: int = _whole("prompt", prompt)
        self.samples: tuple[int, ...] = tuple(samples)
        self._next_block = _blocks(self.seed, self.prompt, self.samples)
        self._places = {sample: place for place, sample in enumerate(self.samples)}
        self._uniforms = np.empty((len(self.samples), 0))
        self._places_cache: tuple[object, NDArray[np.intp]] = None, np.empty(0, np.intp)

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
        uniforms = self._uniforms[:, position]
        if samples is None:
            return uniforms.copy()  # a view would let the caller change later answers
        return uniforms[self._places_of(samples)]

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
        # A decoder asks for the same samples at most steps.
        cached, places = self._places_cache
        if samples is cached:
            return places
        # Python's integers: numbers read one by one out of an array are slow to look up.
        wanted = samples.tolist() if isinstance(samples, np.ndarray) else samples
        places = np.array([self._places[sample] for sample in wanted], dtype=np.intp)
        if isinstance(samples, np.ndarray) and not samples.flags.writeable:
            self._places_cache = samples, places
        return places


def _whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise UsageError(f"the {name} must be a whole number of at least 0, not {value!r}")
    return int(value)


def _blocks(seed: int, prompt: int, samples: tuple[int, ...]) -> Callable[[], NDArray[np.float64]]:
    """Return a function that takes the next (samples, BLOCK) numbers."""
    kernels = native.kernels
    if kernels is None or max(seed, prompt) >= 2**64 or not all(0 <= s < 2**63 for s in samples):
        return partial(_block_of, [_generator(seed, prompt, sample) for sample in samples])
    streams = np.empty((len(samples), 4), dtype=np.int64)
    kernels.start_streams(seed, prompt, np.array(samples, dtype=np.int64), streams)
    return partial(_native_block, streams)


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


def _native_block(streams: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what `_block_of` does, without `numpy.random`, whose import takes a tenth of a run."""
    numbers = np.empty((len(streams), BLOCK))
    rows.loaded().next_uniforms(streams, numbers)
    return numbers


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
        self.prepare = ModelLogits(vocabulary, unknown)
        self.never: NDArray[np.int64] = self.prepare.never
        self.stops: NDArray[np.int64] = np.array([*vocabulary.ends], dtype=np.int64)
        self._sampler, self.size = sampler, len(vocabulary)
        stages = sampler.active_stages
        examples = [_longest_calls(stage, _example(vocabulary), self.size) for stage in stages]
        # After a coin the stages act on each outcome, for which no call has arguments.
        first = len(stages) if sampler.has_branches else _first_of_last(examples)
        self.before: Sampler | None = _chain(stages[:first])
        self.after: Sampler | None = _chain(stages[first:])
        # The stages of `after`, with their kernels where they don't depend on the text.
        self._stages: list[tuple[Sampler, Calls | None]] = [
            (stage, calls if stage.reads <= CONSTANT else None)
            for stage, calls in zip(stages[first:], examples[first:], strict=True)
        ]
        self._has_masks = sampler.has_masks
        is_constant = native.kernels and not (first or self._has_masks)
        self.kernels: Calls | None = self._calls(None) if is_constant else None

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
            UsageError: as for `corelm.chain_stages.apply`.
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
        if self.before is not None:
            result = apply(self.before, model_logits, past, trace)
            if drawn := self._in_one_call(result, NONE, uniforms, lambda: past, trace=trace):
                return self._checked(drawn._replace(model_logits=model_logits), past)
        if self.after is not None:
            result = run_stages(self.after, result, past, trace, model_logits)
        tokens, surprisal, valid = draw_checked(result, uniforms)
        if not valid:
            raise invalid_result(self._sampler, result, past.position)
        of_masks = self._of_masks(trace, (), result.shape)
        return self._checked(Drawn(model_logits, result, tokens, surprisal, *of_masks), past)

    def _checked(self, drawn: Drawn, past: Context) -> Drawn:
        if drawn.logits is not drawn.model_logits:
            check_drawn(self._sampler, drawn.tokens, drawn.model_logits, repeat(past.position))
        return drawn

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
        calls = self._calls(context) if self.kernels is None else self.kernels
        if calls is None:
            return None
        figures = Figures(*np.empty((3, len(logits)))) if measured else None
        wanted = figures or (None, None, None)
        out, tokens, surprisal, valid = rows.sample(logits, never, calls, uniforms, wanted)
        if not valid:  # such as a row of which a mask leaves nothing
            return None
        of_masks = self._of_masks(trace, calls, out.shape)
        return Drawn(logits, out, tokens, surprisal, *of_masks, figures)

    def _calls(self, context: Callable[[], Context] | None) -> Calls | None:
        """Return the kernels of a step; None if a stage is more than kernels at this step.

        Args:
            context: returns the past of each row; None for kernels that don't depend on it.
        """
        calls, past = Calls(), None
        for stage, of_stage in self._stages:
            if of_stage is None and context is not None:
                past = context() if past is None else past
                of_stage = calls_of(stage, past, self.size)
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
        allowed = all_but(
            (Forbidden(*each) for name, *each in calls if name == "forbid_tokens"), shape
        )
        for name, *each in calls:
            if name == "allow_tokens":
                allowed &= each[0]
        if trace:
            allowed &= allowed_tokens(trace, shape)
        return allowed, rows_that_fell_back(trace or (), shape[0])


def calls_of(stage: Sampler, context: Context, size: int) -> Calls | None:
    """Return the kernels that do what a stage does at a step; None if it does anything else.

    Args:
        stage: a sampler that is no chain.
        context: the past of each row.
        size: the number of logits in a row.
    """
    if not stage._is_built_in:
        return None
    try:
        if isinstance(stage, KernelSampler):
            calls = [
                (getattr(function, "kernel", None), *arguments)
                for function, *arguments in stage.kernels(context, size)
            ]
            return None if any(name is None for name, *_ in calls) else tuple(calls)
        if isinstance(stage, Mask):
            allowed = stage.allowed(ListingContext.like(context, size))
            if allowed is None:
                return ()
            is_list = isinstance(allowed, Forbidden)
            return (("forbid_tokens", *allowed) if is_list else ("allow_tokens", allowed),)
        if isinstance(stage, Switch):
            chosen = stage.choose(context)
            is_one = all(each is chosen[0] for each in chosen)
            return (
                _joined(calls_of(each, context, size) for each in chosen[0].active_stages)
                if is_one
                else None
            )
    except UsageError:  # such as a word that the vocabulary lacks: the stage by itself says so
        pass
    return None


def _joined(parts: Iterable[Calls | None]) -> Calls | None:
    calls = Calls()
    for part in parts:
        if part is None:
            return None
        calls += part
    return calls


def constant_calls(stage: Sampler, vocabulary: Vocabulary) -> Calls | None:
    """Return the kernels of a stage that are the same for every text; None if it does more."""
    if not stage.reads <= CONSTANT:
        return None
    return calls_of(stage, _example(vocabulary), len(vocabulary))


def _example(vocabulary: Vocabulary) -> Context:
    """Return the context of a text of two tokens, the second of them drawn."""
    nats = np.ones((1, 2))
    return Context(np.zeros((1, 2), dtype=np.int64), nats, nats, 1, vocabulary)


def _longest_calls(stage: Sampler, example: Context, size: int) -> Calls | None:
    """Return a stage's kernels for an example; of a switch, those of its longest sampler."""
    if not (stage._is_built_in and isinstance(stage, Switch)):
        return calls_of(stage, example, size)
    try:
        samplers = [*stage.choose(example), *stage.nested.values()]
    except UsageError:  # as in `calls_of`
        return None
    options = [
        _joined(_longest_calls(each, example, size) for each in sampler.active_stages)
        for sampler in samplers
    ]
    calls = [option for option in options if option is not None]
    return max(calls, key=len) if len(calls) == len(options) else None


def _first_of_last(examples: Sequence[Calls | None]) -> int:
    """Return where the longest end of a chain that consists of kernels begins."""
    if native.kernels is None:
        return 0
    first, room = len(examples), native.kernels.MOST_STAGES
    while first and (calls := examples[first - 1]) is not None and room >= max(len(calls), 1):
        room -= max(len(calls), 1)
        first -= 1
    return first


def _chain(stages: Sequence[Sampler]) -> Sampler | None:
    if len(stages) < 2:
        return stages[0] if stages else None
    return Chain(samplers=tuple(stages))
