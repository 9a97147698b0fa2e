"""Check sessions that draw tokens ahead, against the same sessions without their `draw`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from corelm.abilities import SessionWrapper, can
from corelm.context import Context
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.decoding.state import Decoding, DecodingTask
from corelm.generation.continuous_batch import ContinuousBatch
from corelm.generation.endings import Endings
from corelm.generation.generate import Ancestral, Texts, generate
from corelm.language_model import LanguageModel, Session
from corelm.numerics.distributions import Array
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.strategies import Strategy


class SingleSteps:
    """A model whose sessions draw no token before it is asked for.

    Args:
        model: the model, whose texts are the same.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model, self.vocabulary = model, model.vocabulary
        self.context_length: int = model.context_length

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Return the distribution of the model."""
        return self._model.next_token_distribution(tokens)

    def start(self, tokens: ArrayLike) -> Session:
        """Return a wrapper of the model's session, which has no `draw`."""
        return SessionWrapper(self._model.start(tokens))


CHANGES: Mapping[str, Callable[[Decoding], object]] = {
    "nothing": lambda decoding: None,
    "rewind": lambda decoding: decoding.rewind(2),
    "select": lambda decoding: decoding.select(np.array([1])),
    "fork": lambda decoding: decoding.select(np.array([1, 0, 1])),
    "next": lambda decoding: decoding.next(),
    "another token": lambda decoding: decoding.advance(np.array([5, 6])),
    "a token that is not appended": lambda decoding: decoding.draw(),
    "several tokens": lambda decoding: decoding.session.extend(np.array([[5, 6], [6, 7]])),
    "other rows": lambda decoding: _join_fork(decoding.session),
}
"""The changes to a decoding of two rows that forget what was drawn ahead."""


def _join_fork(session: Any) -> None:
    if can(session, "join") and can(session, "fork"):
        session.join(session.fork())


def tokens_ahead(
    model: LanguageModel, prompt: Sequence[int], sampler: str = "stochastic", n: int = 1
) -> int:
    """Return the most tokens that a session draws ahead of the one that it was asked for.

    Args:
        model: the model.
        prompt: the ids of the prompt.
        sampler: an expression.
        n: the number of rows.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> tokens_ahead(ToyModel(), [3])
        0
    """
    plan = DrawPlan(read_sampler(sampler), model.vocabulary)
    session, numbers = model.start([list(prompt)] * n), np.random.default_rng(1).random((9, n))
    past = partial(Context.of, np.zeros((n, 1), np.int64), vocabulary=model.vocabulary)
    most = 0
    for step in range(len(numbers)):
        if not can(session, "draw"):
            return 0
        drawn = session.draw(plan, numbers[step:], past)
        most = max(most, drawn.ready or 0)
        session.extend(drawn.tokens.copy())
    return most


def check_draws_ahead(
    model: LanguageModel,
    prompts: Sequence[list[int]],
    *,
    length: int = 20,
    again: int | None = None,
) -> int:
    """Raise an AssertionError if a text depends on what a session draws ahead.

    For an adapter whose sessions have `draw`: they are compared with the same sessions without it,
    alone and in a batch of requests that come and go.

    Args:
        model: the model.
        prompts: the ids of four prompts, of different lengths.
        length: the largest number of tokens of a text in the batch.
        again: the tokens of windows that slide to read again in a step; all by default.

    Returns:
        The most tokens that a session drew ahead.

    Example:
        >>> from corelm.testing import ToyModel
        >>> check_draws_ahead(ToyModel(), [[3], [4, 5], [6], [7]], length=2)
        0
    """
    check_sessions(model, prompts[1])
    check_requests(model, prompts, length=length, again=again)
    return tokens_ahead(model, prompts[1])


def check_sessions(
    model: LanguageModel,
    prompt: Sequence[int],
    *,
    sampler: str = "temperature(t=0.7)",
    counts: Iterable[int] = range(12),
) -> None:
    """Raise an AssertionError if a session that draws ahead differs from one that doesn't.

    Two texts are decoded for some tokens, then changed in each way of `CHANGES`, then continued.

    Args:
        model: the model.
        prompt: the ids of the prompt.
        sampler: an expression.
        counts: the numbers of tokens before the change.

    Example:
        >>> from corelm.testing import ToyModel
        >>> check_sessions(ToyModel(), [3], counts=range(3))
    """
    single = SingleSteps(model)
    for (name, change), count in product(CHANGES.items(), counts):
        if name == "rewind" and count < 2:
            continue
        result, expected = (
            _decoded(each, prompt, sampler, count, change) for each in (model, single)
        )
        for what, value in expected.items():
            assert result[what] == value, f"{what} differ after {count} tokens and {name}"


def _decoded(
    model: LanguageModel,
    prompt: Sequence[int],
    sampler: str,
    count: int,
    change: Callable[[Decoding], object],
) -> dict[str, Any]:
    stream, length = RandomStream(1, range(2)), count + 12
    ids = np.array(prompt, dtype=np.int64)
    decoding = DecodingTask(model, ids, read_sampler(sampler), stream, length).start()

    def decode(tokens: int) -> None:
        for _ in range(tokens):
            decoding.draw()
            decoding.advance()

    decode(count)
    change(decoding)
    session: Any = decoding.session
    other = session.fork() if can(session, "fork") else session
    logits = session.next_logits()
    result = {"tokens": decoding.context.tokens.tolist(), "logits": logits.tobytes()}
    if other is not session:
        other.extend(np.full(len(logits), 9))
        result["logits of a fork"] = other.next_logits().tobytes()
    if len(logits) == len(decoding.samples) and count:
        decode(3)
        result["later tokens"] = decoding.context.tokens.tolist()
    return result


class _Again(Ancestral):
    """The ordinary decoder, for which a request has a session of its own."""


EVENTS = ("join", "cancel", "another chain", "another decoder", "stop")
"""The events between the steps of a batch that end or change what is drawn ahead."""


def check_requests(
    model: LanguageModel,
    prompts: Sequence[list[int]],
    *,
    length: int = 20,
    steps: Iterable[int] = range(1, 14),
    again: int | None = None,
) -> None:
    """Raise an AssertionError if a request of a batch differs from its text alone, step by step.

    Three requests are written for some steps; then a fourth one joins, or another of `EVENTS`
    happens.

    Args:
        model: the model.
        prompts: the ids of four prompts, of different lengths.
        length: the largest number of tokens of a text.
        steps: the numbers of steps before the event.
        again: as for `ContinuousBatch`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> check_requests(ToyModel(), [[3], [4, 5], [6], [7]], length=3, steps=[1])
    """
    alone = _Alone(model, length)
    for event, after, each_step in product(EVENTS, steps, (True, False)):
        asked = [alone.request(ids, seed) for seed, ids in enumerate(prompts[:3])]
        if event == "stop":
            asked[0] = alone.with_stop(asked[0], after)
        batch = ContinuousBatch(model, again=again)
        requests = [batch.add(each, each_step=each_step) for each in asked]
        for _ in range(after):
            batch.step()
        if event == "cancel":
            requests.pop(1).finish()
        elif event != "stop":
            chain = "min_p(p=0.1)" if event == "another chain" else "temperature(t=0.7)"
            decoder = _Again() if event == "another decoder" else None
            requests.append(batch.add(alone.request(prompts[3], 7, chain, decoder)))
        while batch:
            batch.step()
        for number, request in enumerate(requests):
            [text] = request.open_texts.generations()
            expected = alone.tokens(request.texts)
            assert text.tokens == expected, f"text {number} differs: {event} after {after} steps"


class _Alone:
    """Texts that are written alone, step by step; each is written once.

    Args:
        model: the model.
        length: the largest number of tokens.
    """

    def __init__(self, model: LanguageModel, length: int) -> None:
        self._model, self._length = SingleSteps(model), length
        self._texts: dict[str, Any] = {}

    def request(
        self,
        ids: list[int],
        seed: int,
        chain: str = "temperature(t=0.7)",
        decoder: Ancestral | None = None,
    ) -> Texts:
        strategy = Strategy(read_sampler(chain), decoder)
        return Texts("", strategy, self._length, 1, seed, Endings(), ids=ids)

    def with_stop(self, request: Texts, after: int) -> Texts:
        """Return the request with a stop string that ends its text after some tokens."""
        pieces = [piece for piece, _ in self._generation(request).pieces() if piece.strip()]
        stop = pieces[min(after, len(pieces)) - 1].strip()
        return Texts(
            "", request.strategy, self._length, 1, request.seed, Endings.of(stop=stop),
            ids=request.ids,
        )  # fmt: skip

    def tokens(self, request: Texts) -> list[int]:
        tokens: list[int] = self._generation(request).tokens
        return tokens

    def _generation(self, request: Texts) -> Any:
        strategy, key = request.strategy, repr(request)
        if key not in self._texts:
            assert request.ids is not None
            prompt: Any = request.ids
            [self._texts[key]] = generate(
                self._model, prompt, sampler=strategy.sampler, length=self._length,
                seed=request.seed, stop=request.endings.stop,
            )  # fmt: skip
        return self._texts[key]
