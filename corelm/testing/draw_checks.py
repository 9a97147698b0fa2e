"""Check sessions that draw tokens ahead, against the same sessions without their `draw`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from corelm.abilities import SessionWrapper, can
from corelm.contracts.context import Context
from corelm.contracts.decoder import Decoder
from corelm.contracts.language_model import LanguageModel, Session
from corelm.decoding.draws import DrawPlan, RandomStream
from corelm.decoding.state import Decoding, DecodingTask
from corelm.generation.continuous_batch import ContinuousBatch
from corelm.generation.endings import Endings
from corelm.generation.generate import Ancestral, Texts, generate
from corelm.generation.open_texts import Generation
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


CHAIN = "temperature(t=0.7)"
"""The sampler of the texts that are compared."""

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
    """Return the most tokens that a session of n rows draws ahead of the one it was asked for."""
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
    sampler: str = CHAIN,
    counts: Iterable[int] = range(12),
) -> None:
    """Raise an AssertionError if a session that draws ahead differs from one that doesn't.

    Two texts are decoded for some tokens, then changed in each way of `CHANGES`, then continued.

    Args:
        model: the model.
        prompt: the ids of the prompt.
        sampler: an expression.
        counts: the numbers of tokens before the change.
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
    again: int | None = None,
) -> None:
    """Raise an AssertionError if a request of a batch differs from its text alone, step by step.

    Three requests are written for some steps; then a fourth one joins, or another of `EVENTS`
    happens.

    Args:
        model, prompts, length, again: as for `check_draws_ahead`.
    """
    alone = _texts_alone(SingleSteps(model), prompts, length)
    for event, after, each_step in product(EVENTS, range(1, 14), (True, False)):
        pieces = [piece for piece, _ in alone(0).pieces() if piece.strip()]
        stop = (pieces[min(after, len(pieces)) - 1].strip(),) if event == "stop" else ()
        written: list[tuple[Any, ...]] = [(0, CHAIN, stop), (1,), (2,)]
        batch = ContinuousBatch(model, again=again)
        asked = [_asked(prompts, length, *each) for each in written]
        requests = [batch.add(texts, each_step=each_step) for texts in asked]
        for _ in range(after):
            batch.step()
        if event == "cancel":
            requests.pop(1).finish()
            del written[1]
        elif event != "stop":
            written.append((3, "min_p(p=0.1)" if event == "another chain" else CHAIN))
            decoder = _Again() if event == "another decoder" else None
            requests.append(batch.add(_asked(prompts, length, *written[-1], decoder=decoder)))
        while batch:
            batch.step()
        for request, each in zip(requests, written, strict=True):
            [text] = request.open_texts.generations()
            expected, what = alone(*each).tokens, f"{event} after {after} steps"
            assert text.tokens == expected, f"text {each[0]} differs: {what}"


def _texts_alone(
    model: LanguageModel, prompts: Sequence[Any], length: int
) -> Callable[..., Generation]:
    """Return a function that writes a request's text by itself, once."""

    @cache
    def alone(number: int, chain: str = CHAIN, stop: Sequence[str] = ()) -> Generation:
        arguments: dict[str, Any] = {"sampler": chain, "length": length, "stop": stop}
        [text] = generate(model, prompts[number], seed=number, **arguments)
        return text

    return alone


def _asked(
    prompts: Sequence[list[int]],
    length: int,
    number: int,
    chain: str = CHAIN,
    stop: Sequence[str] = (),
    *,
    decoder: Decoder | None = None,
) -> Texts:
    strategy = Strategy(read_sampler(chain), decoder)
    return Texts("", strategy, length, 1, number, Endings.of(stop), ids=prompts[number])
