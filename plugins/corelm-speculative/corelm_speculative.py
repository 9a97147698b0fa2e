"""Speculative decoding: the same text from fewer passes of the model."""

import logging
from dataclasses import dataclass, replace
from itertools import takewhile
from time import perf_counter

import numpy as np

from corelm import Decoder, ParameterError, Step, hookimpl, load, param
from corelm.abilities import FullVocabulary, can

logger = logging.getLogger("corelm.speculative")

LOOKUP = "lookup"


class Speculative(Decoder):
    """Let a draft guess some tokens ahead, and verify them in one pass of the model.

    The draft is a smaller model, or the text itself: the tokens that followed an earlier occurrence
    of the last words. Each token is drawn from the distribution that the sampler returns, with the
    random number of ancestral sampling; a pass counts up to the first wrong guess. So the text is
    the same as with ancestral sampling under every sampler, and the draft only decides the speed.
    The share of right guesses is logged at the end.

    Source: Leviathan, Kalman, Matias 2022, Fast inference from transformers via speculative
    decoding, arXiv 2211.17192, here with common random numbers instead of its rejection step;
    Saxena 2023, Prompt lookup decoding.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=9, seed=4)
        >>> [text] = corelm.generate(ToyModel(), "the", **options)
        >>> [same] = corelm.generate(ToyModel(), "the", decoder=Speculative(), **options)
        >>> text.steps == same.steps
        True
    """

    is_ancestral = True

    draft: str = param(
        LOOKUP,
        f"the draft: {LOOKUP}, or the name or path of a model with the same vocabulary",
        local=True,
    )
    guesses: int = param(4, "tokens guessed at a time", ge=1)
    ngram: int = param(3, f"the longest n-gram that {LOOKUP} looks for", ge=1)

    def __call__(self, task):
        """Yield the steps of ancestral sampling; each sample advances at its own pace."""
        if not task:
            return
        model = None if self.draft == LOOKUP else _draft_model(self.draft, task.model)
        tally = Tally()
        alone = [task.with_samples([i]) for i in task.random_stream.samples]
        writers = [_write(one, self._guesser(one, model), tally) for one in alone]
        try:
            yield from tally.timed(_side_by_side(writers))
        finally:
            tally.report()

    def _guesser(self, task, model):
        """Return a function that guesses one sample's next tokens from its decoding state."""
        if model is None:
            return lambda decoding: _look_up(decoding.context.tokens[0], self.ngram, self.guesses)
        return Draft(replace(task, model=model), self.guesses)


def _draft_model(name, model):
    """Load the draft model by its name.

    Raises:
        ParameterError: its vocabulary differs from the model's.
    """
    draft = load(name)
    if not FullVocabulary(draft.vocabulary).same_as(model.vocabulary):
        raise ParameterError(
            f"draft must be a model with the same vocabulary, which {name!r} is not; "
            f"{LOOKUP} needs no model"
        )
    return draft


def _look_up(tokens, ngram, count):
    """Return the tokens that followed an earlier occurrence of the last tokens.

    It takes the longest n-gram that occurs earlier, at its last occurrence with enough tokens after
    it, or otherwise at its first.

    Args:
        tokens: (time,) ids.
        ngram: the longest n-gram to look for.
        count: the largest number of tokens to return.

    Example:
        >>> _look_up(np.array([1, 2, 3, 4, 5, 2, 3]), 3, 2)
        [4, 5]
    """
    for n in range(min(ngram, len(tokens) - 1), 0, -1):
        # Without the last token, so that the end of the text is not its own match.
        runs = np.lib.stride_tricks.sliding_window_view(tokens[:-1], n)
        after = np.flatnonzero((runs == tokens[-n:]).all(axis=1)) + n
        if len(after):
            start = max(after[after + count <= len(tokens)], default=after[0])
            return tokens[start : start + count].tolist()
    return []


class Draft:
    """A model that guesses by ancestral sampling, with the task's sampler and random numbers.

    Args:
        task: the task of one sample, with the model that guesses.
        count: the number of tokens to guess at a time.
    """

    def __init__(self, task, count):
        self._task, self._count = task, count
        self._session = _rewindable(task.start().session)
        self._read = []  # the tokens after the prompt that the session has read

    def __call__(self, decoding):
        """Return the tokens guessed after the context of a decoding state."""
        self._catch_up(decoding.context.drawn[0].tolist())
        # A start after a context that the session has already read.
        model = AlreadyRead(self._task.model, self._session)
        ahead, guesses = replace(self._task, model=model).start(decoding.context), []
        for _ in range(min(self._count, self._task.length - decoding.context.position)):
            tokens = ahead.draw().tokens
            guesses += tokens.tolist()
            if guesses[-1] in self._task.model.vocabulary.ends:
                break
            ahead.advance(tokens)
            self._read += tokens.tolist()
        return guesses

    def _catch_up(self, drawn):
        """Drop wrong guesses from the session, and append the tokens that were drawn instead."""
        pairs = zip(self._read, drawn, strict=False)
        # The session already has all guesses before the first wrong one.
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._session.rewind(len(self._read) - common)
        self._session.extend(np.array([drawn[common:]], dtype=np.int64))
        self._read = drawn


class AlreadyRead:
    """A model that starts with a given session, which has already read the tokens.

    Args:
        model: the model.
        session: its session.
    """

    def __init__(self, model, session):
        self.vocabulary, self.context_length = model.vocabulary, model.context_length
        self._session = session

    def start(self, tokens):
        """Return the session, which has read the tokens."""
        return self._session


def _rewindable(session):
    """Return the session if it can drop tokens.

    Raises:
        ParameterError: it cannot.
    """
    if not can(session, "rewind"):
        raise ParameterError(
            "speculative decoding drops wrong guesses, and this model cannot drop tokens that it "
            "has read; choose another decoder"
        )
    return session


def _write(task, guesser, tally):
    """Yield the steps of the task's one sample."""
    decoding = task.start()
    session, unfinished = _rewindable(decoding.session), True
    while unfinished:
        # One less than would fit, because the pass also draws a token after the last guess.
        guesses = guesser(decoding)[: task.length - decoding.context.position - 1]
        session.extend(np.array([guesses], dtype=np.int64))
        scores = session.last_logits(len(guesses) + 1)[0]  # (guesses and one more, vocabulary)
        tally.passes, tally.guessed = tally.passes + 1, tally.guessed + len(guesses)
        for i, guess in enumerate([*guesses, None]):
            step = decoding.draw(scores[i : i + 1])
            yield step
            decoding.advance(step.tokens, is_read=True)
            right = step.tokens[0] == guess
            ended = step.tokens[0] in task.model.vocabulary.ends
            unfinished = not ended and step.position + 1 < task.length
            tally.right += right
            if not right or not unfinished:
                break
        # Keep only the right guesses; the drawn token replaces the first wrong one.
        session.rewind(len(guesses) - i)
        session.extend(step.tokens)


def _side_by_side(writers):
    """Join the steps of samples that advance separately, position by position."""
    going = dict(enumerate(writers))
    while going:
        steps = {i: step for i, writer in going.items() if (step := next(writer, None))}
        going = {i: going[i] for i in steps}
        if steps:
            yield Step.join([*steps.values()])


@dataclass
class Tally:
    """Counts of passes, guesses and tokens, and the seconds that they took."""

    passes: int = 0
    guessed: int = 0
    right: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def timed(self, steps):
        """Yield the steps, and count their tokens and seconds."""
        while True:
            start = perf_counter()
            step = next(steps, None)
            self.seconds += perf_counter() - start
            if step is None:
                return
            self.tokens += len(step.tokens)
            yield step

    def report(self):
        """Log the counts, if there was a token."""
        if self.tokens:
            logger.info(
                "speculative: %d tokens from %d passes of the model; %d of %d guesses were right "
                "(%.0f %%); %.0f tokens per second",
                *(self.tokens, self.passes, self.right, self.guessed),
                100 * self.right / max(self.guessed, 1),
                self.tokens / max(self.seconds, 1e-9),
            )


@hookimpl
def corelm_decoders():
    return {"speculative": Speculative}
