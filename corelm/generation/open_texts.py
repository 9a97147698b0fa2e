"""The growing texts of some samples: each token's text and record, and why the text ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corelm.abilities.optional import FullVocabulary, text_of
from corelm.contracts.language_model import LanguageModel, Vocabulary
from corelm.contracts.step import Drawn, FinishReason, Step
from corelm.errors import SamplerError
from corelm.generation.constraint import ConstrainedText
from corelm.generation.endings import Endings, TextPatterns
from corelm.lazy import cached_property
from corelm.text.markup import Displayable, Passage, Word

if TYPE_CHECKING:
    from corelm.generation.generate import Texts


class Text:
    """The text after a prompt, token by token, until a stop string or pattern appears.

    Args:
        vocabulary: the vocabulary of the ids.
        prompt: the ids of the prompt.
        patterns: strings and regular expressions that end the text, which excludes them.
        write: returns the text of each token after the prompt; by default a new writer.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> text = Text(vocabulary, vocabulary.encode("the"))
        >>> [text.add(token) for token in vocabulary.encode("cat sat")]
        [' cat', ' sat']
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompt: Sequence[int],
        patterns: TextPatterns | None = None,
        write: Callable[[int], str] | None = None,
    ) -> None:
        self._patterns = patterns  # in most runs None: nothing is searched for
        self._decode = write or FullVocabulary(vocabulary).writer(prompt)
        self._value = ""
        self._behind: list[int] = []  # tokens that nobody has read yet
        self._settled = 0  # the number of characters that no stop string can still include
        self._taken = 0  # the characters that `take_settled` has returned
        self.stopped: bool = False
        """True once a stop string or pattern has appeared; the text ends before it."""

    @property
    def value(self) -> str:
        """The text after the prompt."""
        if self._behind:
            tokens, self._behind = self._behind, []
            self._value += text_of(self._decode, tokens)
            self._settled = len(self._value)
        return self._value

    def add(self, token: int) -> str:
        """Append a token and return the text that it adds."""
        # A stop string may begin in an earlier token, so search the text and not the piece.
        before, added = self.value, self._decode(int(token))
        text = before + added
        if self._patterns is None:
            self._value, self._settled = text, len(text)
            return added
        # From the settled characters on, or each token would search the whole text again.
        end, self._settled = self._patterns.search(text, self._settled)
        self._value, self.stopped = text[:end], end is not None
        return self._value[len(before) :]

    def append(self, token: int) -> str:
        """Append a token; return its text, or none if it is read later, at once with others'."""
        if self._patterns is not None:
            return self.add(token)
        self._behind.append(token)
        return ""

    def take_settled(self, last: bool = False) -> str:
        """Return the text that has settled since the last call.

        Args:
            last: no token follows, so nothing needs to be held back.
        """
        text = self.value
        start, self._taken = self._taken, len(text) if last else self._settled
        return text[start : self._taken]


CUT_OFF = ("length", "loop", "error")
"""The finish reasons of texts that may be incomplete."""


@dataclass(frozen=True)
class TokenRecord:
    """One token of a generated text. Surprisals and entropies are in nats."""

    token: int
    text: str
    surprisal: float
    model_surprisal: float
    entropy: float
    model_entropy: float
    allowed_mass: float = 1.0
    """The model's probability of the tokens that the masks of the sampler allow; nan if the
    decoder's steps lack it."""


@dataclass(frozen=True)
class Generation(Displayable):
    """A generated text.

    Attributes:
        prompt: the prompt.
        sample: the index in the run; seed and index decide the random numbers.
        seed: the seed of the run.
        text: the text after the prompt, up to a stop string.
        tokens: the ids drawn.
        finish_reason: why it ended: `end`, an end token was drawn; `length`, as many tokens as
            asked for were drawn, or the decoder found no more; `stop`, a stop string or pattern
            appeared; `loop`, its last phrase was repeated; `error`, an exception cut it short.
        steps: one record per token.
        constraint_cost: nats, the sum of -ln of the mass that the masks of the sampler allow at
            each token: by how much they make the text more likely than it is to the model. None
            without masks, or if they agreed on no token at some place.
        fallbacks: the tokens at which the stages before a mask kept nothing that it allows, so
            that the model's likeliest allowed token was drawn.
        is_cut_off: True if the text ends where a mask allows no end, as in the middle of a grammar.
    """

    prompt: str
    sample: int
    seed: int
    text: str
    tokens: list[int]
    finish_reason: FinishReason
    steps: list[TokenRecord] = field(repr=False)
    constraint_cost: float | None = None
    fallbacks: int = 0
    is_cut_off: bool = False

    def pieces(self) -> Iterator[tuple[str, TokenRecord]]:
        """Yield the text that each token adds, without a stop string, and the token's record."""
        left = len(self.text)
        for step in self.steps:
            if left <= 0:
                return
            yield step.text[:left], step
            left -= len(step.text)

    def _parts(self) -> list[Passage]:
        """Return the passage to display: the text's tokens, each with its figures."""
        drawn = [
            Word(text, step.model_surprisal, f"surprisal {step.model_surprisal:.2f} nats, drawn "
                 f"with {step.surprisal:.2f}; entropy {step.model_entropy:.2f}, after the sampler "
                 f"{step.entropy:.2f}")
            for text, step in self.pieces()
        ]  # fmt: skip
        note = f"sample {self.sample}, seed {self.seed}: {self.finish_reason} after "
        note += f"{len(self.tokens)} tokens"
        return [Passage(self.prompt, drawn or [Word(self.text, math.nan, "")], note)]


MOST_SHOWN = 20
"""The number of texts that a list shows."""


class Generations(list[Generation], Displayable):
    """Texts of a run: a list that shows its first texts in a notebook, and with `print`."""

    def __str__(self) -> str:
        return self._repr_text_()

    def _parts(self) -> list[Passage]:
        """Return the passages of the first texts, and a note that counts the others."""
        shown = [part for each in self[:MOST_SHOWN] for part in each._parts()]
        more = len(self) - MOST_SHOWN
        return [*shown, *([Passage("", [], f"and {more:,} more texts")] if more > 0 else [])]


class RowFigures:
    """The tokens and figures of a step's rows as lists, computed once, when they are first read.

    Reading single numbers out of an array is slow, and few programs read the step itself.

    Args:
        drawn: the step, or its tokens as they were drawn.
        position: of the step.
    """

    def __init__(self, drawn: Drawn | Step, position: int = 0) -> None:
        self._drawn, self._position = drawn, position

    @cached_property
    def step(self) -> Step:
        """The step of all rows."""
        drawn = self._drawn
        if isinstance(drawn, Step):
            return drawn
        return drawn.step(self._position, np.arange(len(drawn.tokens)))

    @cached_property
    def tokens(self) -> list[int]:
        """The token of each row."""
        tokens: list[int] = self._drawn.tokens.tolist()
        return tokens

    def ids(self, rows: slice) -> NDArray[np.int64]:
        """Return the tokens of some rows as an array."""
        return self._drawn.tokens[rows]

    @cached_property
    def entropies(self) -> list[float]:
        """The entropy of each row's distribution that a token was drawn from, in nats."""
        figures = None if isinstance(self._drawn, Step) else self._drawn.figures
        entropies: list[float] = (self.step if figures is None else figures).entropy.tolist()
        return entropies

    @cached_property
    def rows(self) -> list[tuple[float, float, float, float]]:
        """The surprisals and entropies of a `TokenRecord`, for each row."""
        step = self.step
        columns = (step.surprisal, step.model_surprisal, step.entropy, step.model_entropy)
        return list(zip(*(column.tolist() for column in columns), strict=True))


class OpenTexts:
    """The growing texts of some samples of a run.

    Args:
        model: the language model.
        texts: the texts to write.
        samples: the indices of those of them that grow here.
        measured: keep a `TokenRecord` for each token; computing its entropies takes time.
        constrained: measure how much the masks of the sampler allow, which takes time too.

    Attributes:
        ids: the ids of the prompt.
        texts: the text of each sample.
        tokens: the ids drawn for each.
        records: the records of these tokens.
        measured: as in the arguments.
        with_entropies: keep the entropy of the distribution that each token is drawn from.
        entropies: these entropies, in nats.
        finish_reasons: why each text ended; None while it grows.
    """

    def __init__(
        self,
        model: LanguageModel,
        texts: Texts,
        samples: Sequence[int],
        measured: bool = False,
        constrained: bool = True,
    ) -> None:
        vocabulary, sampler = model.vocabulary, texts.strategy.sampler
        full, stops = FullVocabulary(vocabulary), texts.endings.stops
        self.ids: list[int] = full.prompt_ids(texts.beginning)
        ids = self.ids
        self.prompt: str = texts.prompt if isinstance(texts.prompt, str) else vocabulary.decode(ids)
        self.samples: tuple[int, ...] = tuple(samples)
        self._places = {sample: place for place, sample in enumerate(self.samples)}
        self._of, self._ends = texts, vocabulary.ends
        self.measured: bool = measured
        self._failed = False
        self._constrained = [
            ConstrainedText(sampler, vocabulary, ids)
            for _ in (samples if constrained and sampler.has_masks else ())
        ]
        writers = full.writers(ids, len(self.samples))
        patterns = stops if stops.strings or stops.patterns else None
        self.texts: list[Text] = [Text(vocabulary, ids, patterns, each) for each in writers]
        self.tokens: list[list[int]] = [[] for _ in self.samples]
        self.records: list[list[TokenRecord]] = [[] for _ in self.samples]
        self.with_entropies: bool = False
        self.entropies: list[list[float]] = [[] for _ in self.samples]
        self.finish_reasons: list[FinishReason | None] = [None for _ in self.samples]

    def take(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Add each step to the texts and yield it, until every text has ended.

        An exception of the steps gets an attribute `generations`: the texts so far.
        """
        try:
            for step in steps:
                samples, tokens = step.samples.tolist(), step.tokens.tolist()
                self.add(samples, tokens, RowFigures(step))
                yield step
                # A decoder ends by itself at end tokens and at the length, but it sees no stop
                # strings and no loops.
                if None not in self.finish_reasons and {"stop", "loop"} & {*self.finish_reasons}:
                    return
        except (Exception, KeyboardInterrupt) as error:
            self.fail(error)
            raise

    def fail(self, error: BaseException) -> None:
        """End the texts with an exception, whose attribute `generations` is the texts so far."""
        self._failed = True
        error.generations = self.generations()  # type: ignore[attr-defined]

    def stream(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Take the steps of the one sample, and yield each with the text that has settled."""
        [text] = self.texts
        for step in self.take(steps):
            [reason] = self.finish_reasons
            yield step.with_text(text.take_settled(last=reason is not None), reason)

    def add(
        self, samples: Sequence[int], tokens: Sequence[int], figures: RowFigures, first: int = 0
    ) -> None:
        """Add a token to each of some texts; a text that has stopped stays as it is.

        Args:
            samples: the sample of each text.
            tokens: their tokens.
            figures: of a step that has these rows, and maybe others.
            first: the first of these rows.
        """
        records = figures.rows if self.measured else None
        entropies = figures.entropies if self.with_entropies else None
        for row, (sample, token) in enumerate(zip(samples, tokens, strict=True), first):
            at = self._places[sample]
            if self.finish_reasons[at] is not None:  # stopped, while other texts still grow
                continue
            added = self.texts[at].add(token) if records else self.texts[at].append(token)
            self.tokens[at].append(token)
            mass = self._constrained[at].add(figures.step, row) if self._constrained else 1.0
            if records:
                self.records[at].append(TokenRecord(token, added, *records[row], mass))
            if entropies:
                self.entropies[at].append(entropies[row])
            self.finish_reasons[at] = self._finish_reason(at, token)

    def _finish_reason(self, at: int, token: int) -> FinishReason | None:
        """Return why a text ends with its last token; None if it grows."""
        tokens = self.tokens[at]
        if self.texts[at].stopped:
            return "stop"
        if token in self._ends:
            return "end"
        repeats = self._of.endings.stop_loop
        if repeats is not None and Endings.in_loop(tokens, repeats):
            return "loop"
        return "length" if len(tokens) >= self._of.length else None

    def generations(self) -> list[Generation]:
        """Return the texts so far.

        Raises:
            SamplerError: a mask failed after the last token of a text; it has an attribute
                `generations`, as an exception of the steps has.
        """
        try:
            return self._generations()
        except SamplerError as error:
            self._failed = True
            error.generations = self._generations()  # type: ignore[attr-defined]
            raise

    def _generations(self) -> list[Generation]:
        # A decoder that finds no more tokens, as a beam search may, ends as at the length.
        default: FinishReason = "error" if self._failed else "length"
        texts = [
            Generation(
                self.prompt, sample, self._of.seed, self.texts[at].value, self.tokens[at],
                self.finish_reasons[at] or default, self.records[at],
            )
            for at, sample in enumerate(self.samples)
        ]  # fmt: skip
        if not self._constrained:
            return texts
        return [
            replace(
                text,
                constraint_cost=constrained.cost,
                fallbacks=constrained.fallbacks,
                is_cut_off=text.finish_reason in CUT_OFF and self._is_cut_off(constrained),
            )
            for text, constrained in zip(texts, self._constrained, strict=True)
        ]

    def _is_cut_off(self, text: ConstrainedText) -> bool:
        try:
            return text.is_cut_off()
        except SamplerError:
            if self._failed:  # this error, or an earlier one, is being raised
                return False
            raise
