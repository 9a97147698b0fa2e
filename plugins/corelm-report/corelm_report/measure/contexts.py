"""The texts on whose positions samplers are compared, and the model's pass over them.

The texts are read in batches. The model computes each position once for all samplers, and many
positions in one pass if its sessions return the logits of several tokens. A page has one more
context, after which its readers try samplers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Context, LanguageModel, Sampler, Vocabulary, explain, surprisals
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.filters import min_and_shannon_entropy
from corelm.runs import (
    ContinuousBatch,
    Endings,
    Expression,
    ForcedTokens,
    ModelLogits,
    ModelRows,
    Strategy,
    Texts,
    chain_stages,
)
from corelm_report.document.parts import TryIt

TextIds = tuple[int, ...]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Contexts:
    """Texts on whose positions distributions are compared.

    Each token after the prompt of a text has a position: its context is the tokens before it, and
    the token itself is the next token there.

    Attributes:
        source: "human" or "model".
        description: the source of the texts, in words.
        texts: the token ids of each text, from its beginning.
        prompt_lengths: the length of each text's prompt in tokens; a prompt has no positions.

    Example:
        >>> Contexts("human", "two texts", ((5, 6, 7), (8, 9)), prompt_lengths=(1, 1)).positions
        3
    """

    source: str
    description: str
    texts: tuple[TextIds, ...]
    prompt_lengths: tuple[int, ...]

    @property
    def positions(self) -> int:
        """The number of positions in all texts together."""
        return sum(map(len, self.texts)) - sum(self.prompt_lengths)

    def cut(self, length: int) -> Contexts:
        """Return the contexts, cut off after `length` tokens behind each prompt."""
        pairs = zip(self.texts, self.prompt_lengths, strict=True)
        return replace(self, texts=tuple(text[: prompt + length] for text, prompt in pairs))

    def some(self, texts: Sequence[int]) -> Contexts:
        """Return the contexts with these indices."""
        chosen = tuple(self.texts[i] for i in texts)
        lengths = tuple(self.prompt_lengths[i] for i in texts)
        return replace(self, texts=chosen, prompt_lengths=lengths)


def human_contexts(
    model: LanguageModel, texts: Sequence[str], description: str, prompt_lengths: Sequence[int] = ()
) -> Contexts:
    """Return the beginnings of human texts, as long as the model's context.

    A model that marks the beginning of a text has a distribution of its first token too. A word
    outside the vocabulary stays in the contexts of the tokens after it.

    Args:
        model: the model whose vocabulary encodes the texts.
        texts: the texts; one without a position is left out.
        description: their source, in words.
        prompt_lengths: the tokens at the beginning of each text that are its prompt; by default
            none.

    Raises:
        UsageError: no text has a position.

    Example:
        >>> from corelm.testing import ToyModel
        >>> human_contexts(ToyModel(), ["the cat", ""], "a fable")
        Contexts(source='human', description='a fable', texts=((11, 4),), prompt_lengths=(0,))
    """
    first = 0 if model.vocabulary.start is not None else 1
    # Within the model's context no window slides, so one pass over a text measures all positions.
    encoded = (tuple(model.vocabulary.encode(text)[: model.context_length]) for text in texts)
    pairs = zip(encoded, prompt_lengths or [first] * len(texts), strict=True)
    long_enough = [(ids, max(length, first)) for ids, length in pairs if len(ids) > length]
    if not long_enough:
        raise UsageError(f"{description}: none of its texts has words to measure")
    return Contexts("human", description, *zip(*long_enough, strict=True))


@dataclass(frozen=True)
class DrawContexts:
    """Draw texts from the model's own distributions, to compare samplers at their positions.

    They are the texts that `corelm.generate` writes with the sampler `stochastic`, this seed and
    the index of the prompt. Each includes its prompt, and its end token if it has one.

    Attributes:
        prompts: the beginnings of the texts.
        each: the number of texts for each prompt.
        length: the largest number of tokens to draw for each text.
        seed: the random seed.

    Example:
        >>> from corelm.testing import ToyModel
        >>> contexts = DrawContexts(("the cat", "the"), each=2, length=3, seed=1)(ToyModel())
        >>> contexts["prompt_lengths"], [text[:2] for text in contexts["texts"]]
        ((2, 1, 2, 1), [(11, 4), (11, 5), (11, 4), (11, 5)])
    """

    prompts: tuple[str, ...]
    each: int
    length: int
    seed: int
    name: str = "contexts"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        vocabulary, stochastic = FullVocabulary(model.vocabulary), Expression.built_in("stochastic")
        prompts = [tuple(vocabulary.prompt_ids(prompt)) for prompt in self.prompts]
        run = Texts("", Strategy(stochastic), self.length, self.each, self.seed, Endings())
        parts = chain.from_iterable(run.batches(self.prompts, independent=True))
        texts: list[list[TextIds]] = [[] for _ in prompts]
        for ended in ContinuousBatch.in_order(model, parts):
            if ended.error:
                raise ended.error
            at = ended.texts.prompt_index
            texts[at] += [prompts[at] + tuple(tokens) for tokens in ended.open_texts.tokens]
        # The first sample of every prompt, then the second, so that no prompt is left out.
        samples = tuple(chain.from_iterable(zip(*texts, strict=True)))
        lengths = tuple(map(len, prompts)) * self.each
        description = f"drawn from the model, seed {self.seed}"
        return asdict(Contexts("model", description, samples, lengths))


@dataclass(frozen=True, eq=False)
class ContextGroup:
    """A batch of texts that are read together.

    Attributes:
        texts: (batch,) the index of each text among all contexts.
        tokens: (batch, time) ids; shorter texts are padded with 0.
        lengths: (batch,) the length of each text in tokens.
        prompt_length: the length of their prompts in tokens, the same for all.
        vocabulary: the vocabulary of the ids.
        model_surprisal: (batch, time) nats, of each token under the model; nan for tokens of the
            prompt, tokens that cannot be drawn, and tokens not read yet.
    """

    texts: tuple[int, ...]
    tokens: Ids
    lengths: Ids
    prompt_length: int
    vocabulary: Vocabulary
    model_surprisal: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_surprisal", np.full(self.tokens.shape, np.nan))


@dataclass(frozen=True, eq=False)
class ContextPosition:
    """The model's distributions at one position of the texts that reach it.

    Attributes:
        time: the number of tokens before it.
        step: the number of tokens since the prompt.
        rows: (rows,) the indices of the texts in the group, or a slice of all of them.
        tokens: (rows,) the next token of each text.
        logits: (rows, vocabulary), the model's, with minus infinity for tokens never drawn.
        past: (rows, time) the tokens before it.
        model_surprisal: (rows, time) nats, of each earlier token under the model.
    """

    time: int
    step: int
    rows: Ids | slice
    tokens: Ids
    logits: Array
    past: Ids
    model_surprisal: NDArray[np.float64]


def groups(model: LanguageModel, contexts: Contexts, index: int = 0) -> Iterator[ContextGroup]:
    """Divide the contexts into groups with prompts of the same length.

    Args:
        model: the model whose vocabulary encodes the texts.
        contexts: the texts.
        index: the index of the first of these texts among all contexts.
    """
    # A context has one prompt length for all of its rows.
    lengths = contexts.prompt_lengths
    for prompt_length in sorted(set(lengths)):
        alike = [i for i, length in enumerate(lengths) if length == prompt_length]
        for first in range(0, len(alike), ContinuousBatch.ROWS):
            some = alike[first : first + ContinuousBatch.ROWS]
            sizes = np.array([len(contexts.texts[i]) for i in some], dtype=np.int64)
            # The padding is never read: `read` drops a text at its end.
            tokens = np.zeros((len(some), int(sizes.max())), dtype=np.int64)
            for row, i in enumerate(some):
                tokens[row, : sizes[row]] = contexts.texts[i]
            indices = tuple(index + i for i in some)
            yield ContextGroup(indices, tokens, sizes, prompt_length, model.vocabulary)


def read(model: LanguageModel, group: ContextGroup) -> Iterator[ContextPosition]:
    """Yield the model's distributions at every position of a group, for all texts at once.

    Raises:
        ModelOutputError: the model returned logits that no sampler can use.
    """
    lengths = zip(group.tokens, group.lengths.tolist(), strict=True)
    texts = [ids[:length] for ids, length in lengths]
    for some in ForcedTokens.in_step(model, texts, [group.prompt_length] * len(texts)):
        step, logits = some.place, some.logits
        time = group.prompt_length + step
        rows = slice(None) if len(some.texts) == len(texts) else some.texts
        # Contiguous: otherwise the kernels would copy this column for each sampler.
        tokens = np.ascontiguousarray(group.tokens[rows, time])
        group.model_surprisal[rows, time] = nan_if_impossible(
            ModelLogits.surprisals(logits, tokens)
        )
        past = group.tokens[rows, :time], group.model_surprisal[rows, :time]
        # Read-only, as all samplers get the same arrays, and a faulty one could change them.
        for array in past:
            array.setflags(write=False)
        yield ContextPosition(time, step, rows, tokens, logits, *past)


def nan_if_impossible(nats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace the surprisal of tokens that cannot be drawn, which is infinite, by nan."""
    return np.where(nats < np.inf, nats, np.nan)


class SamplerReader:
    """A reader that applies a sampler to a group of texts as if it had drawn them.

    Its context has the tokens and their surprisal under the model and under its own
    distributions, as if the sampler had written the text. A token that it could not have drawn has
    no surprisal, like a token of the prompt.

    Args:
        sampler: the sampler.
        group: the texts.
    """

    def __init__(self, sampler: Sampler, group: ContextGroup) -> None:
        self._sampler = sampler
        self._group = group
        self._surprisal = np.full(group.tokens.shape, np.nan)
        self._read_only = self._surprisal.view()
        self._read_only.setflags(write=False)

    def entropies(self, position: ContextPosition) -> NDArray[np.float64]:
        """Return the entropies at a position alone, which takes less time than all figures.

        Raises:
            SamplerError: the sampler raised, or did not return distributions.
            UsageError: the sampler does not fit this model.
        """
        logits = chain_stages.apply(self._sampler, position.logits, self._context(position))
        surprisal = nan_if_impossible(surprisals(logits, position.tokens))
        self._surprisal[position.rows, position.time] = surprisal
        return min_and_shannon_entropy(logits)[1]

    def compare(self, position: ContextPosition, model: ModelRows) -> Any:
        """Return the figures of the sampler's distributions at a position.

        Args:
            position: the position.
            model: the model's distributions there.

        Raises:
            SamplerError: the sampler raised, did not return distributions, or restored a token.
            UsageError: the sampler does not fit this model.
        """
        compared = model.compare(self._sampler, position.tokens, self._context(position))
        self._surprisal[position.rows, position.time] = compared.surprisal
        return compared

    def _context(self, position: ContextPosition) -> Context:
        return Context(
            position.past,
            self._read_only[position.rows, : position.time],
            position.model_surprisal,
            self._group.prompt_length,
            self._group.vocabulary,
        )


WORDS = 40
"""The number of likeliest tokens whose text is kept."""
LEAST = -1e30
"""A logit of weight 0, used in place of minus infinity: 0 * -inf would be nan in sums."""


def try_it(model: LanguageModel, prompt: str) -> TryIt:
    """Return the model's distribution after a prompt, on which a reader tries samplers.

    Example:
        >>> from corelm.testing import ToyModel
        >>> shown = try_it(ToyModel(), "the")
        >>> shown.words[:2], len(np.frombuffer(base64.b64decode(shown.logits), "<f4"))
        ([' cat', ' dog'], 11)
    """
    explanation = explain(model, prompt, Expression.built_in("stochastic"))
    stage = explanation.stages[0]
    logits = stage.logits[stage.ranked_tokens].astype(np.float64)
    # Shifted so that the first is 0, as a common offset would cost float32 digits.
    below = np.maximum(logits - logits[0], LEAST)
    ends = model.vocabulary.ends
    words = [
        Endings.END if token in ends else explanation.text_of(token)
        for token in stage.ranked_tokens[:WORDS].tolist()
    ]
    logits_in_base64 = base64.b64encode(below.astype("<f4").tobytes()).decode("ascii")
    return TryIt(prompt=prompt, logits=logits_in_base64, words=words)
