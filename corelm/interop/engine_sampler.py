"""A sampler in the generation loop of another engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from logging import Logger
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from corelm.contracts.chain_stages import apply
from corelm.contracts.context import Context
from corelm.contracts.language_model import Vocabulary, never_drawn
from corelm.contracts.sampling import Sampler
from corelm.contracts.validation import check_drawn, check_logits, restored_token
from corelm.decoding.draws import RandomStream
from corelm.errors import UsageError
from corelm.filters import array_namespace
from corelm.interop.engine_rows import EngineRows, context_of
from corelm.numerics.arrays import in_library_of
from corelm.numerics.distributions import Array, draw, mask_logits, mask_tokens
from corelm.questions.portability import runs_on
from corelm.registry.expressions import sampler as read_sampler


@dataclass(frozen=True, eq=False)
class EngineDraw:
    """One token for each row of an engine's batch, with the logits that it was drawn from.

    Attributes:
        sampler: the sampler.
        vocabulary: the engine's, if it is known.
        texts: for each row the ids before the token, the prompt first.
        prompt_lengths: for each row the length of its prompt.
        samples: for each row the index of its sample.
        tokens: (batch,) ids that were drawn.
        model_logits: (batch, vocabulary) of the model; what is never drawn is minus infinity.
        logits: (batch, vocabulary) of the sampler.
    """

    sampler: Sampler
    vocabulary: Vocabulary | None
    texts: Sequence[NDArray[np.int64]]
    prompt_lengths: Sequence[int]
    samples: Sequence[int]
    tokens: NDArray[np.int64]
    model_logits: Array
    logits: Array


class EngineSampler:
    """A sampler in the loop of another engine, which passes logits and tokens at each step.

    Without a seed it returns the sampler's logits, and the engine draws from them. With a seed it
    draws, and returns 0 for the token drawn and minus infinity for all others, so that nothing
    that the engine does later changes the text. That text is the one of `corelm.generate` with
    the same seed; the row of the batch is the index of the sample.

    Each call is one step. A row that extends a row of the previous call by one token continues that
    text; any other row starts a text, with its tokens as the prompt. So an engine may reorder, fork
    and drop rows. A new generation calls `reset`, or has an object of its own: its prompt may be a
    text of the last one and one more token. An engine with stable row numbers passes `samples`.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to the engine.
        vocabulary: the engine's, for samplers that name words or the end of a text, for the start
            token, which is no part of a text, and for the tokens that are never drawn, which the
            sampler does not see.
        record: is called with the `EngineDraw` of each step; it needs a seed.

    Attributes:
        reads: the parts of the context that the sampler reads.

    Raises:
        UsageError: a seed that is not a whole number of at least 0, or `record` without one.

    Example:
        >>> engine = EngineSampler("top_k(k=1)")
        >>> engine(np.array([[1.0, 3.0, 2.0]]), [[0, 2]]).tolist()
        [[-inf, 3.0, -inf]]
    """

    def __init__(
        self,
        sampler: Sampler | str,
        *,
        seed: int | None = None,
        vocabulary: Vocabulary | None = None,
        record: Callable[[EngineDraw], object] | None = None,
    ) -> None:
        if record is not None and seed is None:
            raise UsageError("record= needs seed=: without one the engine draws, unseen by corelm")
        self.sampler: Sampler = read_sampler(sampler)
        stages = self.sampler.active_stages
        self.reads: frozenset[str] = frozenset[str]().union(*(stage.reads for stage in stages))
        self._draws, self._vocabulary, self._record = seed is not None, vocabulary, record
        self._never: dict[int, NDArray[np.int64]] = {}
        self._random_stream = RandomStream(RandomStream.fresh_seed() if seed is None else seed, [])
        self._engine_rows = EngineRows()
        self._native: dict[str, bool] = {}

    def warn_of_coin(self, logger: Logger, engine: str) -> None:
        """Log that an engine's later stages act on a mixture, if the engine draws after a coin."""
        if self.sampler._coins and not self._draws:
            logger.warning(
                "%s tosses a coin, and stages of %s after it act on the mixture of its outcomes, "
                "not on each: let none follow but the draw, or give a seed",
                self.sampler,
                engine,
            )

    def __copy__(self) -> Self:
        """Return an object that continues the same texts independently of this one."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__
        # A shallow copy is enough: each step replaces the list of rows instead of changing it.
        other._engine_rows = copy.copy(self._engine_rows)
        return other

    def __call__(
        self,
        logits: ArrayLike,
        tokens: Sequence[ArrayLike],
        samples: Sequence[int] | NDArray[np.int64] | None = None,
        prompt_lengths: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> Array:
        """Return the logits that the engine draws from.

        Args:
            logits: (batch, vocabulary), of the engine's model.
            tokens: for each row the ids of its text so far, without padding; of any lengths. The
                start token of the vocabulary may come first.
            samples: for each row the index of its sample, from an engine whose rows start at
                different steps; a row then continues only a text of the same sample.
            prompt_lengths: for each row the length of its prompt, with the start token if there
                is one, from an engine that may begin in the middle of a text. The surprisals of
                the tokens before are then nan.

        Returns:
            (batch, vocabulary), float32 or float64; never the memory of the engine's logits.

        Raises:
            ModelOutputError: logits with NaN, +infinity or an empty row.
            SamplerError: the sampler raised, its result is not a distribution, or a token is
                possible in it that is never drawn.
            UsageError: arrays of other shapes, or a word that the vocabulary lacks.
        """
        if not self._draws:
            _, result = self._step(
                logits, tokens, samples, prompt_lengths, tracked=bool(self.reads)
            )
            # A sampler that changes nothing returns its input; engines write into what they get.
            return result.copy() if np.may_share_memory(result, np.asarray(logits)) else result
        drawn = self.draw(logits, tokens, samples, prompt_lengths)
        only = np.full(np.shape(logits), -np.inf, dtype=np.float32)
        only[np.arange(len(drawn)), drawn] = 0
        return only

    def draw(
        self,
        logits: ArrayLike,
        tokens: Sequence[ArrayLike],
        samples: Sequence[int] | NDArray[np.int64] | None = None,
        prompt_lengths: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Return one token for each row, (batch,); without a seed, with a fresh one.

        Args and raises: as for a call.
        """
        scores, result = self._step(logits, tokens, samples, prompt_lengths, tracked=True)
        drawn = draw(result, self._uniforms())[0]
        check_drawn(self.sampler, drawn, scores, (row.position for row in self._engine_rows.rows))
        if self._record is not None:
            rows = self._engine_rows.rows
            self._record(
                EngineDraw(
                    self.sampler, self._vocabulary, [row.tokens for row in rows],
                    [row.prompt_length for row in rows], [row.sample for row in rows],
                    drawn, scores, result,
                )
            )  # fmt: skip
        return drawn

    def drawn(
        self,
        logits: ArrayLike,
        texts: Sequence[ArrayLike],
        prompt_lengths: Sequence[int],
        samples: Sequence[int],
        result: Array,
        tokens: NDArray[np.int64],
    ) -> EngineDraw:
        """Return the draws of a caller that draws from the result of a call itself.

        Args:
            logits, texts, prompt_lengths, samples: as for the call.
            result: (batch, vocabulary), what the call returned.
            tokens: (batch,) ids that were drawn from it.
        """
        without_start, lengths = self._without_start(texts, prompt_lengths)
        return EngineDraw(
            sampler=self.sampler,
            vocabulary=self._vocabulary,
            texts=without_start,
            prompt_lengths=list(prompt_lengths if lengths is None else lengths),
            samples=samples,
            tokens=tokens,
            model_logits=self._without_never_drawn(_floats(logits)),
            logits=result,
        )

    def reset(self) -> None:
        """Forget the texts: each row of the next call starts one, with its tokens as the prompt."""
        self._engine_rows.clear()

    def continues(self, tokens: ArrayLike) -> bool:
        """Return True if the tokens are a text of the last call and one more.

        For an engine that passes one row at a time without its number.

        Args:
            tokens: (time,) ids, as for a call.
        """
        [text], _ = self._without_start([tokens], None)
        return self._engine_rows.continued(text) is not None

    def native(self, logits: Any) -> Any:
        """Return the sampler's logits, computed by the array's own library, on its device.

        Args:
            logits: (batch, vocabulary), an array of another library, such as torch or JAX.

        Returns:
            An array of that library; None if the sampler reads more than logits, or calls
            functions that need NumPy.
        """
        if not self.is_native(logits):
            return None
        width = logits.shape[-1]
        never, context = self._never_drawn(width), _empty_context(logits.shape[0])
        if not len(never):
            return self.sampler(logits, context)
        possible = in_library_of(logits, np.isin(np.arange(width), never, invert=True))
        # Masked again: to look for tokens that the sampler restored would wait for the device.
        return mask_logits(self.sampler(mask_logits(logits, possible), context), possible)

    def is_native(self, array: Any) -> bool:
        """Return True if `native` works for arrays of this library; each library is tested once."""
        library = array_namespace(array).__name__
        if library not in self._native:
            self._native[library] = not self.reads and runs_on(self.sampler, array)
        return self._native[library]

    def _step(
        self,
        logits: ArrayLike,
        tokens: Sequence[ArrayLike],
        samples: Sequence[int] | NDArray[np.int64] | None,
        prompt_lengths: Sequence[int] | NDArray[np.int64] | None,
        tracked: bool,
    ) -> tuple[Array, Array]:
        """Return the model's logits, without tokens that are never drawn, and the sampler's.

        Args:
            tracked: match the rows with the last step, for the context or the random numbers.
        """
        scores = _floats(logits)
        if scores.ndim != 2 or len(scores) != len(tokens):
            raise UsageError(
                f"expected logits (batch, vocabulary) and a list of ids for each row, "
                f"not {scores.shape} and {len(tokens)} lists"
            )
        scores = self._without_never_drawn(scores)
        if tracked:
            texts, lengths = self._without_start(tokens, prompt_lengths)
            self._engine_rows.advance(texts, samples, lengths)
        result = self._apply(scores)
        never = self._never_drawn(result.shape[1])
        # The engine might draw a token that is never drawn.
        if len(never) and (possible := result[:, never] > -np.inf).any():
            row, place = np.argwhere(possible)[0].tolist()
            step = self._engine_rows.rows[row].position if self._engine_rows.rows else 0
            raise restored_token(self.sampler, int(never[place]), step, row)
        if self.reads & {"surprisal", "model_surprisal"}:
            copied = scores.copy()  # the engine may overwrite its memory before the next step
            shared = np.may_share_memory(result, scores)
            self._engine_rows.remember(copied, copied if shared else result)
        return scores, result

    def _without_never_drawn(self, scores: Array) -> Array:
        """Return the logits, validated, with tokens that are never drawn at minus infinity."""
        if len(never := self._never_drawn(scores.shape[1])):
            scores = scores.copy()  # it is the engine's memory
            if mask_tokens(scores, never):  # True if the rows are valid too
                return scores
        check_logits(scores, "the engine's logits")
        return scores

    def _never_drawn(self, width: int) -> NDArray[np.int64]:
        """Return the ids that are never drawn from `width` logits; kept for the next step."""
        if width not in self._never:
            self._never[width] = _never_drawn(self._vocabulary, width)
        return self._never[width]

    def _without_start(
        self,
        tokens: Sequence[ArrayLike],
        prompt_lengths: Sequence[int] | NDArray[np.int64] | None,
    ) -> tuple[list[NDArray[np.int64]], Sequence[int] | NDArray[np.int64] | None]:
        """Return the texts, and the lengths of their prompts, without the start token."""
        texts = [np.asarray(text, dtype=np.int64) for text in tokens]
        start = None if self._vocabulary is None else self._vocabulary.start
        if start is None:
            return texts, prompt_lengths
        begins = [int(len(text) > 0 and text[0] == start) for text in texts]
        if prompt_lengths is not None:
            prompt_lengths = [max(n - b, 0) for n, b in zip(prompt_lengths, begins, strict=True)]
        return [text[b:] for text, b in zip(texts, begins, strict=True)], prompt_lengths

    def _apply(self, scores: Array) -> Array:
        if not self.reads:  # rows of any lengths together
            return apply(self.sampler, scores, _empty_context(len(scores)))
        rows = self._engine_rows.rows
        # A context is rectangular, so rows of one length are sampled together.
        lengths: dict[tuple[int, int], list[int]] = {}
        for i, row in enumerate(rows):
            lengths.setdefault((len(row.tokens), row.prompt_length), []).append(i)
        if len(lengths) == 1:
            return apply(self.sampler, scores, context_of(rows, self._vocabulary, scores.shape[1]))
        result = np.empty_like(scores)
        for together in lengths.values():
            some = [rows[i] for i in together]
            context = context_of(some, self._vocabulary, scores.shape[1])
            result[together] = apply(self.sampler, scores[together], context)
        return result

    def _uniforms(self) -> NDArray[np.float64]:
        rows, stream = self._engine_rows.rows, self._random_stream
        most = 1 + max((row.sample for row in rows), default=-1)
        if len(stream) < most:  # samples keep their numbers when the stream grows
            stream = self._random_stream = RandomStream(stream.seed, range(most))
        return np.array([stream.at(row.position, [row.sample])[0] for row in rows])


def _never_drawn(vocabulary: Vocabulary | None, width: int) -> NDArray[np.int64]:
    if vocabulary is None:
        return np.empty(0, dtype=np.int64)
    try:
        size = len(vocabulary)
    except UsageError:  # a partial vocabulary: some ids, without the list of tokens
        size = width
    ids = never_drawn(vocabulary)
    return np.append(ids[ids < min(size, width)], np.arange(size, width))


@lru_cache(maxsize=8)  # arrays of a context are read-only
def _empty_context(batch: int) -> Context:
    """Return a context for samplers that read logits only."""
    return Context.of(np.empty((batch, 0), dtype=np.int64))


def _floats(logits: ArrayLike) -> Array:
    """Return logits as a NumPy array; half precision becomes float32."""
    scores = np.asarray(logits)
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float32)
