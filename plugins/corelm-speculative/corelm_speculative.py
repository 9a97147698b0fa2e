"""Speculative decoding: the same text from fewer readings of the model."""

import logging
from dataclasses import dataclass, replace
from itertools import takewhile
from time import perf_counter

import numpy as np

from corelm import (
    Decoder,
    ParameterError,
    RewindableSession,
    Step,
    draw,
    hookimpl,
    load,
    param,
    surprisals,
)

logger = logging.getLogger("corelm.speculative")

LOOKUP = "lookup"


class Speculative(Decoder):
    """Let a draft guess some tokens ahead, and let the model judge them in one reading.

    The draft is a smaller model, or the text itself: what followed the last words where they
    stood before. At each position the token is drawn from the distribution that the sampler
    returns, with the luck of ordinary decoding; the reading goes on as far as the guesses were
    the tokens drawn. So the text is that of ordinary decoding, under every sampler; the draft
    decides the speed alone. How many guesses were right is logged at the end.

    Source: Leviathan, Kalman, Matias 2022, Fast inference from transformers via speculative
    decoding, arXiv 2211.17192, here with shared luck in the place of its rejection step;
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

    draft: str = param(
        LOOKUP, f"what guesses: {LOOKUP}, or the name or path of a model with the same vocabulary"
    )
    guesses: int = param(4, "tokens guessed at a time", ge=1)
    ngram: int = param(3, f"the longest run of tokens that {LOOKUP} looks for", ge=1)

    def __call__(self, task):
        """Yield the steps of ordinary decoding; each sample goes its own way, in one session."""
        if task.length == 0 or len(task.random_stream) == 0:
            return
        model = None if self.draft == LOOKUP else _draft_model(self.draft, task.model)
        tally = Tally()
        alone = [task.with_samples([i]) for i in task.random_stream.samples]
        writers = [_write(one, self._draft(one, model), tally) for one in alone]
        try:
            yield from tally.timed(_side_by_side(writers))
        finally:
            tally.report()

    def _draft(self, task, model):
        """A function from the past of the task's one sample to the tokens guessed."""
        if model is None:
            return lambda past: _look_up(past.context.tokens[0], self.ngram, self.guesses)
        return Draft(replace(task, model=model), self.guesses)


def _draft_model(name, model):
    """The draft model of a name.

    Raises:
        ParameterError: its vocabulary is another one than the model's.
    """
    draft = load(name)
    if _tokens(draft.vocabulary) != _tokens(model.vocabulary):
        raise ParameterError(
            f"draft must be a model with the vocabulary of the one that writes, which {name!r} "
            f"is not; {LOOKUP} needs no model"
        )
    return draft


def _tokens(vocabulary):
    """What the ids of a vocabulary stand for."""
    special = vocabulary.padding, vocabulary.unknown, vocabulary.end
    return special, [vocabulary.decode([i]) for i in range(len(vocabulary))]


def _look_up(tokens, ngram, count):
    """What followed the last tokens where they stood before: the longest run of them counts.

    Of several places the last one is taken that has enough tokens behind it, else the first.

    Args:
        tokens: (time,) ids.
        ngram: how many of the last tokens to look for, at most.
        count: how many tokens to return, at most.

    Example:
        >>> _look_up(np.array([1, 2, 3, 4, 5, 2, 3]), 3, 2)
        [4, 5]
    """
    for n in range(min(ngram, len(tokens) - 1), 0, -1):
        runs = np.lib.stride_tricks.sliding_window_view(tokens[:-1], n)
        after = np.flatnonzero((runs == tokens[-n:]).all(axis=1)) + n
        if len(after):
            start = max(after[after + count <= len(tokens)], default=after[0])
            return tokens[start : start + count].tolist()
    return []


class Draft:
    """A model that guesses by ordinary decoding, with the sampler and the luck of the task.

    Args:
        task: the task of one sample, with the model that guesses.
        count: how many tokens to guess at a time.
    """

    def __init__(self, task, count):
        self._task, self._count = task, count
        self._session = _rewindable(task.start())
        self._read = []  # the tokens after the prompt that the session has

    def __call__(self, past):
        """The tokens guessed after a past."""
        self._follow(past.context.drawn[0].tolist())
        past, guessed = past.fork(), []
        for _ in range(min(self._count, self._task.length - past.context.step)):
            model_logits, logits = self._task.distribution(self._session.logits, past.context)
            token, surprisal = draw(logits, self._task.random_stream.at(past.context.step))
            guessed += token.tolist()
            if guessed[-1] == self._task.model.vocabulary.end:
                break
            past.append(token, surprisal, surprisals(model_logits, token))
            self._session.extend(token)
            self._read += token.tolist()
        return guessed

    def _follow(self, drawn):
        """Take back what was guessed wrong, and read what was drawn."""
        pairs = zip(self._read, drawn, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._session.rewind(len(self._read) - common)
        self._session.extend(np.array([drawn[common:]], dtype=np.int64))
        self._read = drawn


def _rewindable(session):
    """The session, if it can go back.

    Raises:
        ParameterError: it cannot.
    """
    if not isinstance(session, RewindableSession):
        raise ParameterError(
            "decoder must be another one for this model: speculative decoding takes back wrong "
            "guesses, and the model cannot drop tokens that it has read"
        )
    return session


def _write(task, draft, tally):
    """Yield the steps of the task's one sample."""
    session, past, going = _rewindable(task.start()), task.context(), True
    while going:
        guessed = draft(past)[: task.length - past.context.step - 1]
        session.extend(np.array([guessed], dtype=np.int64))
        scores = session.last_logits(len(guessed) + 1)[0]  # (guesses and one more, vocabulary)
        tally.readings, tally.guessed = tally.readings + 1, tally.guessed + len(guessed)
        for i, guess in enumerate([*guessed, None]):
            step = _drawn(task, past, scores[i : i + 1])
            yield step
            past.append(step.tokens, step.surprisal, step.model_surprisal)
            right, going = step.tokens[0] == guess, _goes_on(task, step)
            tally.right += right
            if not right or not going:
                break
        session.rewind(len(guessed) - i)
        session.extend(step.tokens)


def _drawn(task, past, scores):
    """The step of ordinary decoding: (1, vocabulary) scores, and what is drawn."""
    context = past.context
    model_logits, logits = task.distribution(scores, context)
    tokens, surprisal = draw(logits, task.random_stream.at(context.step))
    return Step(context.step, np.zeros(1, dtype=np.int64), tokens, model_logits, logits, surprisal)


def _goes_on(task, step):
    ended = step.tokens[0] == task.model.vocabulary.end
    return not ended and step.position + 1 < task.length


def _side_by_side(writers):
    """The steps of samples that are written each by itself, joined position by position."""
    going = dict(enumerate(writers))
    while going:
        steps = {i: step for i, writer in going.items() if (step := next(writer, None))}
        going = {i: going[i] for i in steps}
        if steps:
            yield _joined(steps)


def _joined(steps):
    """One step of several samples: a mapping from sample to its step of one row."""
    rows = ("tokens", "model_logits", "logits", "surprisal")
    position = next(iter(steps.values())).position
    return Step(
        position,
        np.array([*steps], dtype=np.int64),
        *(np.concatenate([getattr(step, name) for step in steps.values()]) for name in rows),
    )


@dataclass
class Tally:
    """How well it went: what was read, guessed and drawn, and how long that took."""

    readings: int = 0
    guessed: int = 0
    right: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def timed(self, steps):
        """Pass steps on, and count their tokens and the time that they take."""
        while True:
            start = perf_counter()
            step = next(steps, None)
            self.seconds += perf_counter() - start
            if step is None:
                return
            self.tokens += len(step.tokens)
            yield step

    def report(self):
        """Log it, where anything was read."""
        if self.tokens:
            logger.info(
                "speculative: %d tokens from %d readings of the model; %d of %d guesses were right "
                "(%.0f %%); %.0f tokens per second",
                *(self.tokens, self.readings, self.right, self.guessed),
                100 * self.right / max(self.guessed, 1),
                self.tokens / max(self.seconds, 1e-9),
            )


@hookimpl
def corelm_decoders():
    return {"speculative": Speculative}
