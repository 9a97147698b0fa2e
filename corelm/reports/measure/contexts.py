"""The contexts on which samplers are compared: texts of people, or texts drawn from the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corelm import LanguageModel
from corelm.errors import UsageError
from corelm.toolkit import batches, built_in, steps

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Contexts:
    """Texts at whose positions distributions are compared.

    There is a position before each token behind the prompt of a text: the tokens before it are
    the context, and the token itself is the one that followed in the text.

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
    texts: tuple[Ids, ...]
    prompt_lengths: tuple[int, ...]

    @property
    def positions(self) -> int:
        """The number of positions in all texts together."""
        return sum(map(len, self.texts)) - sum(self.prompt_lengths)

    def some(self, texts: Sequence[int]) -> Contexts:
        """Return the contexts of some of the texts, by index."""
        chosen = tuple(self.texts[i] for i in texts)
        lengths = tuple(self.prompt_lengths[i] for i in texts)
        return Contexts(self.source, self.description, chosen, lengths)


def human_contexts(model: LanguageModel, texts: Sequence[str], description: str) -> Contexts:
    """Return the beginnings of texts that people wrote, as long as the model's context.

    A model that marks the beginning of a text has a distribution of its first token too. A word
    outside the vocabulary stays in the contexts of the tokens after it.

    Args:
        model: the model whose vocabulary encodes the texts.
        texts: the texts; one without a position is left out.
        description: their source, in words.

    Raises:
        UsageError: no text has a position.

    Example:
        >>> from corelm.testing import ToyModel
        >>> human_contexts(ToyModel(), ["the cat", ""], "a fable")
        Contexts(source='human', description='a fable', texts=((11, 4),), prompt_lengths=(0,))
    """
    prompt_length = 0 if model.vocabulary.start is not None else 1
    # Within the model's context no window slides, so one pass over a text measures all positions.
    encoded = (tuple(model.vocabulary.encode(text)[: model.context_length]) for text in texts)
    kept = tuple(ids for ids in encoded if len(ids) > prompt_length)
    if not kept:
        raise UsageError(f"{description}: none of its texts has words to measure")
    return Contexts("human", description, kept, (prompt_length,) * len(kept))


def model_contexts(
    model: LanguageModel, prompts: Sequence[str], n: int, length: int, seed: int
) -> Contexts:
    """Draw texts from the model's own distributions: n for each prompt, prompt by prompt.

    They are the texts that `corelm.generate` writes with the sampler `stochastic` and this seed.
    Each includes its prompt, and its end token if it has one.

    Args:
        model: the language model.
        prompts: the beginnings of the texts.
        n: texts for each prompt.
        length: tokens to draw for each text, at most.
        seed: the random seed.

    Raises:
        UsageError: a seed, a number or a length out of range; no position to measure.

    Example:
        >>> from corelm.testing import ToyModel
        >>> contexts = model_contexts(ToyModel(), ["the cat"], n=2, length=3, seed=1)
        >>> contexts.prompt_lengths, [text[:2] for text in contexts.texts]
        ((2, 2), [(11, 4), (11, 4)])
    """
    prompt_ids = [tuple(model.vocabulary.encode(prompt)) for prompt in prompts]
    texts = [
        ids + text
        for prompt, ids in zip(prompts, prompt_ids, strict=True)
        for samples in batches(n)
        for text in _draw(model, prompt, samples, length, seed)
    ]
    if not texts or length < 1:
        raise UsageError("contexts need at least one prompt, one text and one token")
    prompt_lengths = tuple(len(ids) for ids in prompt_ids for _ in range(n))
    return Contexts("model", f"drawn from the model, seed {seed}", tuple(texts), prompt_lengths)


def _draw(model: LanguageModel, prompt: str, samples: range, length: int, seed: int) -> list[Ids]:
    tokens: dict[int, list[int]] = {sample: [] for sample in samples}
    for step in steps(
        model, prompt, sampler=built_in("stochastic"), length=length, samples=samples, seed=seed
    ):
        for sample, token in zip(step.samples.tolist(), step.tokens.tolist(), strict=True):
            tokens[sample].append(token)
    return [tuple(ids) for ids in tokens.values()]
