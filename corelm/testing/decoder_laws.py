"""The laws that every decoder obeys, built-in or not.

A law is a function that takes a decoder and raises an AssertionError that names the fault, the task
and the way out. The docstring of a law is the law.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.context import Context
from corelm.contracts.decoder import Decoder
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.sampling import Mask, Sampler
from corelm.contracts.step import Step
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import DecodingTask
from corelm.numerics.distributions import Array, softmax, surprisals
from corelm.numerics.filters import top_k
from corelm.testing.cases import global_random_state
from corelm.testing.enumeration import Text, g_test, text_probabilities
from corelm.testing.law import Law, law_maker
from corelm.testing.time_limit import SECONDS, EndlessError, within
from corelm.testing.toy_model import ToyModel
from corelm.text.printable import shown

DRAWS = 800
"""The number of seeds in the law that counts texts."""
LONGEST = 3
"""The length of the counted texts, in tokens."""
CHANCE = 1e-6
"""The p-value below which chance does not explain the counts."""


class _Unchanged(Sampler):
    """Leave the model's distribution as it is."""

    name = "unchanged"

    def __call__(self, logits: Array, context: Context) -> Array:
        return logits.copy()


class _TwoLikeliest(Sampler):
    """Make all but two tokens impossible."""

    name = "two_likeliest"

    def __call__(self, logits: Array, context: Context) -> Array:
        two: Array = top_k(logits, 2)
        return two


class _ReadsThePast(Sampler):
    """Lower the tokens of the text so far, in proportion to its surprisal."""

    name = "reads_the_past"

    def __call__(self, logits: Array, context: Context) -> Array:
        ids = np.arange(logits.shape[1])
        counts = (context.tokens[:, :, None] == ids).sum(axis=1)
        nats = np.nan_to_num(context.surprisal, posinf=0.0)
        weight = 0.3 + 0.1 * nats.sum(axis=1, keepdims=True)
        lowered: Array = (logits - weight * counts).astype(logits.dtype)
        return lowered


class _EveryOther(Mask):
    """Allow the tokens with even ids at one step, and the tokens with odd ids at the next."""

    name = "every_other"

    def allowed(self, context: Context) -> NDArray[np.bool_]:
        allowed = (np.arange(context.vocabulary_size) + context.position) % 2 == 0
        return np.tile(allowed, (context.batch, 1))


SAMPLERS: tuple[Sampler, ...] = (_Unchanged(), _TwoLikeliest(), _ReadsThePast())


def _small_model() -> ToyModel:
    """Return a model of three words, so that its texts of three tokens can be listed."""
    logits = np.random.default_rng(3).normal(size=(6, 6)) * 1.2
    return ToyModel(["a", "b", "c"], logits.astype(np.float32))


@dataclass(frozen=True)
class _Question:
    """One task for a decoder."""

    decoder: Decoder
    model: LanguageModel
    sampler: Sampler = field(default_factory=_Unchanged)
    samples: Sequence[int] = (0, 1)
    seed: int = 1
    length: int = 5
    prompt: str = "a b"

    def __str__(self) -> str:
        return (
            f"samples {list(self.samples)} of seed {self.seed} with {self.sampler.name} and "
            f"length {self.length}"
        )

    @property
    def ids(self) -> list[int]:
        return self.model.vocabulary.encode(self.prompt)

    @property
    def task(self) -> DecodingTask:
        stream = RandomStream(self.seed, self.samples)
        ids = np.array(self.ids, dtype=np.int64)
        return DecodingTask(self.model, ids, self.sampler, stream, self.length)

    def steps(self) -> list[Step]:
        try:
            # One step more than asked for shows a decoder that never ends.
            return within(SECONDS, lambda: [*islice(self.decoder(self.task), self.length + 1)])
        except EndlessError as error:
            raise EndlessError(
                f"{self.decoder!r} {error} (asked for {self}). Yield a step for each position, and "
                "return after `task.length` of them."
            ) from None

    def texts(self) -> list[Text]:
        """Return the tokens of each sample."""
        texts: dict[int, list[int]] = {sample: [] for sample in self.samples}
        for step in self.steps():
            for sample, token in zip(step.samples.tolist(), step.tokens.tolist(), strict=True):
                texts.get(sample, []).append(token)  # ignore a sample that wasn't requested
        return [tuple(text) for text in texts.values()]


Ask = Callable[..., _Question]
"""A function that creates a task for the decoder under examination."""
Complaints = Iterator[tuple[_Question, str]]


DECODER_LAWS: list[Law] = []
"""The laws of decoders; each takes a decoder and the model that writes, by default a toy model."""

_law = law_maker(
    DECODER_LAWS,
    lambda decoder, model=None: [partial(_Question, decoder, model or _small_model())],
    lambda decoder, complaint: f"{decoder!r} {complaint[1]} (asked for {complaint[0]})",
)


def _questions(ask: Ask) -> Iterator[_Question]:
    for sampler in SAMPLERS:
        for seed, length in ((1, 1), (2, 2), (3, 5), (4, 12)):
            yield ask(sampler, seed=seed, length=length)
    yield ask(prompt="", seed=5)


@_law("Take every random number from `task.random_stream`, and keep nothing between two calls.")
def repeats_its_texts(ask: Ask) -> Complaints:
    """Give the same texts for the same seed, and draw no random number of another source."""
    before = global_random_state()
    for question in _questions(ask):
        if question.texts() != question.texts():  # two runs of one object
            yield question, "gave two answers to one seed"
        if global_random_state() != before:
            yield question, "drew random numbers that the seed does not decide"


@_law(
    "Take the random numbers of `decoding.samples`, not those of the rows, and keep session, "
    "context and samples in step with `decoding.select`."
)
def treats_samples_alone(ask: Ask) -> Complaints:
    """Give a sample the same text alone, in a batch and in any order."""
    for together in _questions(ask):
        first, second = together.texts()
        # A mix-up of rows or random numbers shows once a sample changes its place.
        for samples, texts in (((1, 0), [second, first]), ((0,), [first]), ((1,), [second])):
            other = ask(together.sampler, samples, together.seed, together.length, together.prompt)
            if other.texts() != texts:
                yield other, f"wrote other texts than for samples {list(together.samples)}"


@_law("Drop the rows where `decoding.is_end(tokens)` is true, and stop at `task.length`.")
def ends_each_text(ask: Ask) -> Complaints:
    """End each text with the end token or at the length, and leave its row out from then on."""
    for question in _questions(ask):
        positions = [step.position for step in question.steps()]
        if positions != list(range(len(positions))):
            yield question, f"yielded the positions {positions}"
        for text in question.texts():
            ends = [token in question.model.vocabulary.ends for token in text]
            if any(ends[:-1]) or len(text) > question.length:
                yield question, f"wrote {len(text)} tokens, past an end token or the length"
            if text and not ends[-1] and len(text) < question.length:
                yield question, f"stopped after {len(text)} tokens without an end token"
        # With other samplers, a search may find fewer texts than samples.
        if not all(question.texts()) and isinstance(question.sampler, _Unchanged):
            yield question, "left a text empty, although every token is possible"
        for before, after in pairwise(question.steps()):
            if not set(after.samples.tolist()) <= set(before.samples.tolist()):
                yield question, "yielded a sample that the step before did not have"


@_law("Begin with `if not task: return`.")
def writes_nothing_when_nothing_is_asked(ask: Ask) -> Complaints:
    """Yield no step for a length of 0 or for no samples."""
    for question in (ask(length=0), ask(samples=()), ask(samples=(), length=0)):
        if question.steps():
            yield question, "yielded a step"


@_law("Choose among the tokens whose logits in `decoding.next().logits` are above minus infinity.")
def draws_possible_tokens(ask: Ask) -> Complaints:
    """Draw no token of probability zero."""
    masked = (ask(_EveryOther(), prompt=text) for text in ("a", "b", "b a"))
    for question in (*_questions(ask), *masked):
        for step in question.steps():
            rows = np.arange(len(step.tokens))
            for logits in (step.logits, step.model_logits):
                if (logits[rows, step.tokens] == -np.inf).any():
                    yield question, f"drew a token of probability zero at step {step.position}"


@_law("Yield the logits of `decoding.next()`, or the step of `decoding.draw()`, as they are.")
def reports_what_it_drew_from(ask: Ask) -> Complaints:
    """Yield the sampler's logits after the text so far, and the surprisal of each token in them."""
    for question in _questions(ask):
        prompt = Context.of([question.ids], vocabulary=question.model.vocabulary)
        # Each context is rebuilt from the steps alone, as an observer would see the text.
        past = dict.fromkeys(question.samples, prompt)
        for step in question.steps():
            where = f"at step {step.position}"
            expected = [
                question.sampler(logits[None], past.get(sample, prompt))
                for logits, sample in zip(step.model_logits, step.samples.tolist(), strict=True)
            ]
            if not np.allclose(softmax(step.logits), softmax(np.concatenate(expected)), atol=1e-5):
                yield question, f"yielded logits other than the sampler's {where}"
            if not np.allclose(step.surprisal, surprisals(step.logits, step.tokens), atol=1e-5):
                yield question, f"yielded surprisals that do not follow from the logits {where}"
            for row, sample in enumerate(step.samples.tolist()):
                past[sample] = _extended(past.get(sample, prompt), step, row)


def _extended(context: Context, step: Step, row: int) -> Context:
    """Return one row's context after the step, which adds a token."""

    def append(past: Array, more: Array) -> Array:
        return np.append(past, more[row : row + 1][None], axis=1)

    return replace(
        context,
        tokens=append(context.tokens, step.tokens),
        surprisal=append(context.surprisal, step.surprisal),
        model_surprisal=append(context.model_surprisal, step.model_surprisal),
    )


@_law("Yield the step of `decoding.draw()` or `decoding.step(tokens)`, or pass on its `allowed`.")
def reports_what_masks_allow(ask: Ask) -> Complaints:
    """Yield the tokens that the sampler's masks allow; the cost of a constraint needs them."""
    mask = _EveryOther()
    for question in (ask(mask, length=1), ask(mask, length=4)):
        for step in question.steps():
            past = np.zeros((len(step.tokens), step.position), dtype=np.int64)
            context = Context.of(past, prompt_length=0, vocabulary_size=step.logits.shape[1])
            if step.allowed is None or not np.array_equal(step.allowed, mask.allowed(context)):
                yield question, f"yielded other allowed tokens at step {step.position}"


@_law("Draw each token with probability softmax(logits), or set `is_ancestral = False`.")
def matches_ancestral_sampling(ask: Ask) -> Complaints:
    """Write each text with its probability in ancestral sampling, if `is_ancestral` is True."""
    question = ask(_ReadsThePast(), length=LONGEST)
    if not question.decoder.is_ancestral:
        return
    expected = text_probabilities(
        question.model, question.prompt, sampler=question.sampler, length=LONGEST
    )
    for sample in (0, 5):  # a search may treat its first sample differently
        runs = [ask(question.sampler, (sample,), seed, LONGEST) for seed in range(DRAWS)]
        counts = Counter(text for run in runs for text in run.texts())
        p = g_test(counts, expected)
        # So small that a correct decoder never fails by chance; a wrong one is far below it.
        if p < CHANCE:
            what = f"wrote texts with other probabilities than ancestral sampling (p = {p:.0e})"
            yield runs[-1], f"{what} in {DRAWS} runs, the last of them"


@_law("Use no number of `task.random_stream`, or set `is_deterministic = False`.")
def ignores_the_seed_if_deterministic(ask: Ask) -> Complaints:
    """Write the same texts for every seed, if `is_deterministic` is True."""
    for question in _questions(ask):
        other = replace(question, seed=question.seed + 1)
        if question.decoder.is_deterministic and other.texts() != question.texts():
            yield other, f"wrote other texts than for seed {question.seed}"


@_law("Return a mapping from token ids to scores, the best first; None without candidates.")
def names_its_candidates(ask: Ask) -> Complaints:
    """Map token ids to finite scores, the best first, if it has candidates for the first token."""
    question = ask()
    candidates = question.decoder.next_tokens(question.task)
    ids = range(len(question.model.vocabulary))
    if candidates is not None and not (
        isinstance(candidates, Mapping)
        and all(token in ids and np.isreal(score) for token, score in candidates.items())
        and np.isfinite(scores := np.array([*candidates.values()], dtype=float)).all()
        and (np.diff(scores) <= 0).all()
    ):
        yield question, f"returned {shown(candidates)} as candidates"
