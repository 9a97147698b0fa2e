"""Best of n: write several texts and keep the best."""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint

import numpy as np
from corelm_confidence import (
    WINDOW,
    figures_of,
    group_means,
    lowest_mean,
    tail_mean,
)

from corelm import Ancestral, CorelmError, Decoder, ParameterError, hookimpl, param


@dataclass(frozen=True, eq=False)
class Candidate:
    """A text to be ranked.

    Attributes:
        prompt: the prompt.
        text: the text after the prompt.
        tokens: (time,) the ids drawn.
        surprisal: (time,) nats, under the distributions that the sampler returned.
        model_surprisal: (time,) the same under the model's own distributions.
        self_certainty: (time,) nats, the KL divergence of the model's distributions from uniform;
            empty for a scorer of this package that does not read it.
        confidence: (time,) nats, the mean surprisal of the model's 20 likeliest tokens; empty
            under the same condition.
    """

    prompt: str
    text: str
    tokens: np.ndarray
    surprisal: np.ndarray
    model_surprisal: np.ndarray
    self_certainty: np.ndarray = field(default_factory=lambda: np.empty(0))
    confidence: np.ndarray = field(default_factory=lambda: np.empty(0))


def likelihood(candidate):
    """Return the model's mean log-probability of a token, in nats."""
    return -float(np.mean(candidate.model_surprisal))


def total_likelihood(candidate):
    """Return the model's log-probability of the whole text, in nats."""
    return -float(np.sum(candidate.model_surprisal))


def self_certainty(candidate):
    """Return the mean KL divergence of the model's distributions from uniform, in nats.

    Source: Kang, Zhao, Song 2025, arXiv 2502.18581.
    """
    return float(np.mean(candidate.self_certainty))


def mean_confidence(candidate):
    """Return the mean confidence of all tokens.

    Source, also for the three functions below: Fu, Wang, Tian, Zhao 2025, arXiv 2508.15260.
    """
    return float(np.mean(candidate.confidence))


def tail_confidence(candidate, window=WINDOW):
    """Return the mean confidence of the last tokens."""
    return tail_mean(candidate.confidence, window)


def group_confidence(candidate, window=WINDOW):
    """Return the mean confidence of the lowest tenth of all groups of consecutive tokens."""
    return lowest_mean(candidate.confidence, window)


def lowest_group_confidence(candidate, window=WINDOW):
    """Return the lowest mean confidence of any group of consecutive tokens."""
    return float(group_means(candidate.confidence, window).min())


LIKELIHOODS = ("likelihood", "total_likelihood")
"""The scorers that need no confidences; these cost a pass over the logits of every token."""
WINDOWED = (tail_confidence, group_confidence, lowest_group_confidence)
SCORERS = {
    scorer.__name__: scorer
    for scorer in (likelihood, total_likelihood, self_certainty, mean_confidence, *WINDOWED)
}


def scorer_of(name, window):
    """Return the function from a candidate to its score.

    Args:
        name: a name of `SCORERS`, or MODULE:FUNCTION.
        window: the tokens of a group and of the tail.

    Raises:
        ParameterError: there is no such function.
    """
    score = find_function("scorer", name, SCORERS)
    return partial(score, window=window) if score in WINDOWED else score


class Rerank(Decoder):
    """Write several candidates with ancestral sampling, and keep one of them.

    The candidates of sample i are the samples i n, ..., i n + n - 1 of an ordinary run with the
    same seed, for n candidates. A subclass has the parameter `candidates`.
    """

    reads_confidence = True
    """Compute the candidates' confidences, a pass over the logits of every token."""

    @abstractmethod
    def choose(self, texts):
        """Return the index of the `Candidate` that is kept; the first one on ties."""

    def __call__(self, task):
        """Yield the steps of the chosen texts, once all are written."""
        if not task:
            return
        chosen = []  # the sample indices that the chosen candidates have in an ordinary run
        for sample in task.random_stream.samples:
            first = sample * self.candidates
            own = task.with_samples(range(first, first + self.candidates))
            chosen.append(first + int(self.choose(candidates(own, self.reads_confidence))))
        # Decode them again instead of storing: the logits of all candidates would fill the memory.
        sample_of = dict(zip(chosen, task.random_stream.samples, strict=True))
        for step in Ancestral()(task.with_samples(chosen)):
            samples = np.array([sample_of[each] for each in step.samples.tolist()])
            yield replace(step, samples=samples)


class ByScore(Rerank):
    """A `Rerank` whose parameters `scorer` and `window` name a score of each candidate."""

    def __post_init__(self):
        super().__post_init__()
        scorer_of(self.scorer, self.window)

    @property
    def reads_confidence(self):
        """True unless the scorer reads likelihoods alone."""
        return self.scorer not in LIKELIHOODS

    def scores(self, texts):
        """Return the score of each candidate: (texts,)."""
        score, source = scorer_of(self.scorer, self.window), f"the scorer {self.scorer}"
        return np.array([as_number(score(text), source) for text in texts])


class BestOf(ByScore):
    """Write several texts with ancestral sampling, and keep the one with the highest score.

    The candidates of sample i are the samples i n, ..., i n + n - 1 of an ordinary run with the
    same seed, for n candidates; the first one with the highest score is kept.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=3, seed=1)
        >>> [text.text for text in corelm.generate(ToyModel(), "the", n=4, **options)]
        [' dog saw mat', ' cat sat on', ' dog and sat', ' and mat']
        >>> corelm.generate(ToyModel(), "the", decoder=BestOf(candidates=4), **options)[0].text
        ' cat sat on'
    """

    candidates: int = param(4, "texts to choose from", ge=1)
    scorer: str = param(
        "likelihood",
        f"the score: {', '.join(SCORERS)}, or MODULE:FUNCTION, a function "
        "from a Candidate to a number",
        local=True,
    )
    window: int = param(WINDOW, "tokens of a group and of the tail, for the confidences", ge=1)

    def choose(self, texts):
        """Return the index of the candidate with the highest score."""
        return np.argmax(self.scores(texts))


def candidates(task, confident):
    """Return the candidates of ancestral sampling, with confidences if `confident` is true."""
    drawn = {sample: [] for sample in task.random_stream.samples}
    for step in Ancestral()(task):
        figures = figures_of(step.model_logits) if confident else ()
        facts = zip(step.tokens, step.surprisal, step.model_surprisal, *figures, strict=True)
        for sample, fact in zip(step.samples.tolist(), facts, strict=True):
            drawn[sample].append(fact)
    return [_candidate(task, facts) for facts in drawn.values()]


def _candidate(task, facts):
    tokens, *figures = map(np.array, zip(*facts, strict=True))
    decode, ids = task.model.vocabulary.decode, task.prompt.tolist()
    prompt = decode(ids)
    # With the prompt, which decides the first space and capital.
    text = decode([*ids, *tokens.tolist()])[len(prompt) :]
    return Candidate(prompt, text, tokens, *figures)


def find_function(parameter, name, functions):
    """Return the function of a name, or the one at MODULE:FUNCTION.

    Args:
        parameter: the parameter that has the name, for messages.
        name: its value.
        functions: the functions that need no module, by name.

    Raises:
        ParameterError: there is no such function.
    """
    if name in functions:
        return functions[name]
    wanted = f"{parameter} must be {', '.join(functions)} or MODULE:FUNCTION"
    if ":" not in name:
        raise ParameterError(f"{wanted}, not {name!r}")
    try:
        function = EntryPoint(parameter, name, "").load()  # imports and follows dotted names
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ParameterError(f"{wanted}; {name!r} cannot be imported: {reason}") from error
    if not callable(function):
        raise ParameterError(f"{wanted}; {name!r} is not a function")
    return function


def as_number(value, source):
    """Return a score as a number.

    Args:
        value: what the function returned.
        source: the function, for messages.

    Raises:
        CorelmError: the function returned something else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:  # refuse nan, which `argmax` would take for the best
        raise CorelmError(f"{source} returned {value!r} for a text, not a number")
    return number


@hookimpl
def corelm_decoders():
    return {"best_of": BestOf}
