"""Draws: their random numbers, and the plan that makes them one call of the kernels.

All randomness is one uniform number per (seed, prompt, sample, position).

A decoding step of a small model takes less time than ten calls of NumPy. So the stages at the end
of a chain that are nothing but kernels, and the draw, become one call. What a stage reads of the
text becomes arguments of its kernels, at each step. Others, such as a stranger's sampler, run
before it, one at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import native
from corelm.chain_stages import (
    StageResult,
    allowed_tokens,
    apply,
    check_drawn,
    invalid_result,
    rows_that_fell_back,
    run_stages,
)
from corelm.context import Context, ListingContext
from corelm.decoding.step import Drawn, Figures, ModelLogits
from corelm.errors import UsageError
from corelm.language_model import Vocabulary
from corelm.native import rows
from corelm.native.ahead import Draws
from corelm.native.backend import FLOAT32, Recorder
from corelm.numerics.distributions import Array, draw_checked
from corelm.numerics.masks import Forbidden, all_but
from corelm.sampling import Chain, Mask, Sampler, Switch

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
        self._known: tuple[NDArray[np.int64] | None, NDArray[np.intp]] = None, np.empty(0, np.intp)

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
        self._reach(position)
        return self._uniforms[self._places_of(samples), position:]

    def _reach(self, position: int) -> None:
        """Draw numbers up to a position."""
        # Whole blocks in order, so that a number does not depend on the positions asked for before.
        while position >= self._uniforms.shape[1]:
            self._uniforms = np.concatenate([self._uniforms, self._next_block()], axis=1)

    def _places_of(self, samples: NDArray[np.int64] | Sequence[int]) -> NDArray[np.intp]:
        # A decoder asks for the same samples at most steps.
        known, places = self._known
        if samples is known:
            return places
        # Python's integers: numbers read one by one out of an array are slow to look up.
        wanted = samples.tolist() if isinstance(samples, np.ndarray) else samples
        places = np.array([self._places[sample] for sample in wanted], dtype=np.intp)
        if isinstance(samples, np.ndarray) and not samples.flags.writeable:
            self._known = samples, places
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
    # The prompt is a key of its own, because a seed above 2^32 takes two words of the entropy.
    key = (prompt,) if prompt else ()
    return np.random.default_rng(np.random.SeedSequence([seed, sample], spawn_key=key))


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


class DrawPlan:
    """A sampler's stages and the draw in few calls, with the bits of one call for each stage.

    Args:
        sampler: the sampler or chain.
        vocabulary: the model's vocabulary.
        unknown: allow [UNK] to be sampled.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> class Halved(corelm.Sampler):
        ...     '''Halve the logits.'''
        ...     def __call__(self, logits, context):
        ...         return logits / 2
        >>> chain = Halved() | corelm.sampler("top_k(k=2) | temperature(t=0.5)")
        >>> plan = DrawPlan(chain, ToyModel().vocabulary)
        >>> str(plan.before), str(plan.after)
        ('halved', 'top_k(k=2) | temperature(t=0.5)')
    """

    def __init__(self, sampler: Sampler, vocabulary: Vocabulary, unknown: bool = False) -> None:
        self.prepare = ModelLogits(vocabulary, unknown)
        stages = sampler.active_stages
        first = _first_of_last(stages, vocabulary)
        self._kernels, self._vocabulary = stages[first:], vocabulary
        self._known: tuple[int, list[Calls | None]] = -1, []
        self._sampler = sampler
        self.before: Sampler | None = _chain(stages[:first])
        """The stages that run one at a time, first."""
        self.after: Sampler | None = _chain(stages[first:])
        """The other stages, which are one call with the draw where there are kernels."""

    def draw(
        self,
        logits: Array,
        uniforms: NDArray[np.float64],
        position: int,
        context: Callable[[], Context],
        masks: bool = False,
        measured: bool = False,
    ) -> Drawn:
        """Draw one token of each row.

        Args:
            logits: (batch, vocabulary) the model's, which are overwritten.
            uniforms: (batch,) numbers in [0, 1).
            position: the number of tokens drawn before.
            context: returns the past of each row.
            masks: return what masks allow.
            measured: return the figures of the rows, which take less time now than later.

        Raises:
            ModelOutputError: the model's logits are not a distribution.
            SamplerError: the sampler raised, its result is not a distribution, or the token drawn
                is one that the model rules out.
            UsageError: as for `corelm.chain_stages.apply`.
        """
        logits = self.prepare.check(logits, len(uniforms))
        trace: list[StageResult] | None = [] if masks else None
        if self.before is None and (
            drawn := self._in_one_call(
                logits, self.prepare.never, uniforms, context, trace, measured
            )
        ):
            return drawn
        # Also after a call that found a row that is no distribution: what follows names the fault.
        result = model_logits = self.prepare(logits, position)
        if self.before is not None:
            result = apply(self.before, model_logits, context(), trace)
            if drawn := self._in_one_call(result, NONE, uniforms, context, trace):
                return self._checked(drawn._replace(model_logits=model_logits), position)
        if self.after is not None:
            result = run_stages(self.after, result, context(), trace, model_logits)
        tokens, surprisal, valid = draw_checked(result, uniforms)
        if not valid:
            raise invalid_result(self._sampler, result, position)
        of_masks = _possible(trace, (), result.shape)
        return self._checked(Drawn(model_logits, result, tokens, surprisal, *of_masks), position)

    def ahead(
        self,
        uniforms: Callable[[], NDArray[np.float64]],
        batch: int,
        measured: bool = False,
    ) -> Draws | None:
        """Return how to draw several tokens of each row, up to an end, in one call.

        None if it takes more than kernels, or depends on the text.

        Args:
            uniforms: returns (tokens, batch) numbers in [0, 1).
            batch: the number of rows.
            measured: as for `draw`.
        """
        calls = None if native.kernels is None or self.before else self._constant(batch)
        if calls is None or None in calls:
            return None
        stages = tuple(call for each in calls if each for call in each)
        stops = np.array([*self._vocabulary.ends], dtype=np.int64)
        return Draws(self.prepare.never, stages, stops, uniforms(), measured)

    def _checked(self, drawn: Drawn, position: int) -> Drawn:
        if drawn.logits is not drawn.model_logits:
            check_drawn(self._sampler, drawn.tokens, drawn.model_logits, repeat(position))
        return drawn

    def _in_one_call(
        self,
        logits: Array,
        never: NDArray[np.int64],
        uniforms: NDArray[np.float64],
        context: Callable[[], Context],
        trace: list[StageResult] | None,
        measured: bool = False,
    ) -> Drawn | None:
        """Return the draw from these logits of the model; None where it can't be one call."""
        if native.kernels is None or logits.dtype is not FLOAT32:
            return None
        try:
            calls = self._calls(len(logits), context)
            figures = Figures(*np.empty((3, len(logits)))) if measured else None
            wanted = figures or (None, None, None)
            out, tokens, surprisal, valid = rows.sample(logits, never, calls, uniforms, wanted)
        except Exception:  # what the kernels can't read or do; each stage by itself says what it is
            return None
        if not valid:  # such as a row of which a mask leaves nothing
            return None
        of_masks = _possible(trace, calls, out.shape)
        return Drawn(logits, out, tokens, surprisal, *of_masks, figures)

    def _calls(self, batch: int, context: Callable[[], Context]) -> Calls:
        """Return the kernels of a step."""
        calls, now = tuple[rows.Call, ...](), None
        for stage, found in zip(self._kernels, self._constant(batch), strict=True):
            if found is None:
                now = context() if now is None else now
                found = _recorded(stage, batch, now)
            calls += found
        return calls

    def _constant(self, batch: int) -> list[Calls | None]:
        """Return the kernels of each stage that doesn't depend on the text, which are kept."""
        if self._known[0] != batch:
            known = [
                calls_of(stage, self._vocabulary, batch) if stage.reads <= CONSTANT else None
                for stage in self._kernels
            ]
            self._known = batch, known
        return self._known[1]


Calls = tuple[rows.Call, ...]


def _recorded(stage: Sampler, batch: int, context: Context) -> Calls:
    if not stage._is_built_in:
        raise TypeError("a stranger's sampler runs by itself")
    if isinstance(stage, Mask):
        allowed = stage.allowed(ListingContext.like(context, context.vocabulary_size))
        if allowed is None:
            return ()
        is_list = isinstance(allowed, Forbidden)
        return (("forbid_tokens", *allowed) if is_list else ("allow_tokens", allowed),)
    if isinstance(stage, Switch):
        chosen = stage.choose(context)
        if any(each is not chosen[0] for each in chosen):
            raise TypeError("each of several samplers acts in rows of its own")
        return _all_recorded(chosen[0], batch, context)
    result: Any = stage(Recorder((batch, context.vocabulary_size)), context)  # type: ignore[arg-type]
    calls: Calls = result.calls
    return calls


def _all_recorded(sampler: Sampler, batch: int, context: Context) -> Calls:
    found = (_recorded(stage, batch, context) for stage in sampler.active_stages)
    return tuple(call for calls in found for call in calls)


def _possible(
    trace: list[StageResult] | None, calls: Calls, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Return what masks allow, as `Drawn` does.

    Args:
        trace: the stages that ran one at a time; None if it isn't wanted.
        calls: the kernels, in which no row fell back.
        shape: (batch, vocabulary).
    """
    if trace is None:
        return None, None
    lists = (Forbidden(*each) for name, *each in calls if name == "forbid_tokens")
    allowed = all_but(lists, shape)
    for name, *each in calls:
        if name == "allow_tokens":
            allowed &= each[0]
    if trace:
        allowed &= allowed_tokens(trace, shape)
    return allowed, rows_that_fell_back(trace, shape[0])


def _first_of_last(stages: Sequence[Sampler], vocabulary: Vocabulary) -> int:
    """Return where the longest end of a chain that consists of kernels begins."""
    if native.kernels is None:
        return 0
    first, room = len(stages), native.kernels.MOST_STAGES
    while first:
        calls = calls_of(stages[first - 1], vocabulary)
        room -= 0 if calls is None else max(len(calls), 1)
        if calls is None or room < 0:
            break
        first -= 1
    return first


def calls_of(stage: Sampler, vocabulary: Vocabulary, batch: int = 0) -> Calls | None:
    """Return the kernels that a stage consists of; None if it does anything else.

    Args:
        stage: a sampler that is no chain.
        vocabulary: the model's vocabulary.
        batch: the number of rows; each has a text of one drawn token.
    """
    if isinstance(stage, Switch):
        return _calls_of_longest(stage, vocabulary, batch)
    context = _example(batch, vocabulary)
    no_rows = np.empty((0, len(vocabulary)), dtype=np.float32)
    try:
        calls = _recorded(stage, batch, context)
        if not batch:
            rows.sample(no_rows, NONE, calls, np.empty(0))  # raises unless it knows the kernels
    except Exception:  # it looked at the logits, or its arguments are wrong, as a call will tell
        return None
    return calls


def _example(batch: int, vocabulary: Vocabulary) -> Context:
    nats = np.ones((batch, 2))
    return Context(np.zeros((batch, 2), dtype=np.int64), nats, nats, 1, vocabulary)


def _calls_of_longest(stage: Switch, vocabulary: Vocabulary, batch: int) -> Calls | None:
    """Return the most kernels that one of a switch's samplers consists of; None if one doesn't."""
    try:
        chosen = stage.choose(_example(1, vocabulary))
    except Exception:  # such as a word that the vocabulary lacks, as a call will tell
        return None
    found: list[Calls] = []
    for sampler in (*chosen, *stage.nested.values()):
        calls = [calls_of(each, vocabulary, batch) for each in sampler.active_stages]
        if not stage._is_built_in or None in calls:
            return None
        found.append(tuple(call for each in calls if each for call in each))
    return max(found, key=len)


def _chain(stages: Sequence[Sampler]) -> Sampler | None:
    if len(stages) < 2:
        return stages[0] if stages else None
    return Chain(samplers=tuple(stages))
