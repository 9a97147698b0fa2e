"""Write texts: `stream` one as it is drawn, `generate` several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from corelm.abilities.optional import FullVocabulary
from corelm.contracts.decoder import Decoder
from corelm.contracts.hookspecs import hookimpl
from corelm.contracts.language_model import LanguageModel, StatelessModel
from corelm.contracts.sampling import Sampler
from corelm.contracts.step import Step
from corelm.decoding.draws import RandomStream, whole_number
from corelm.decoding.state import DecodingTask, steps_in_order
from corelm.errors import UsageError
from corelm.generation.endings import Endings
from corelm.generation.open_texts import Generation, Generations, OpenTexts
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.models import as_model
from corelm.registry.registry import registry
from corelm.registry.strategies import Strategy
from corelm.text.printable import shown

BATCH = 64
"""Samples decoded together; more of them take memory and are not faster."""


class Ancestral(Decoder):
    """Draw each token from the distribution that the sampler returns, given those before it."""

    is_ancestral = True

    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        if not task:
            return
        decoding, ends = task.start(), set(task.model.vocabulary.ends)
        for position in range(task.length):
            step, is_last = decoding.draw(), position + 1 == task.length
            if is_last or not ends.isdisjoint(step.tokens.tolist()):
                unfinished = ~decoding.is_end(step.tokens)
                if is_last or not np.count_nonzero(unfinished):
                    yield step
                    return
                # Finished rows leave first, so the model doesn't read their last tokens.
                decoding.select(unfinished)
            decoding.advance()
            yield step


@hookimpl
def corelm_decoders() -> dict[str, type[Decoder]]:
    return {"ancestral": Ancestral}


def _check_decoder(decoder: Any) -> None:
    if isinstance(decoder, type):
        raise UsageError(f"a decoder is an object: write {decoder.__name__}(), with brackets")
    if not (decoder is None or callable(decoder)):
        raise UsageError(f"a decoder is an object such as corelm.Ancestral(), not {shown(decoder)}")


def _read_decoder(decoder: Decoder | str | None) -> Decoder | None:
    """Return a decoder; of an expression, the one that it is."""
    if not isinstance(decoder, str):
        return decoder
    strategy = Strategy.of(decoder)
    if len(strategy.stages) != 1 or strategy.decoder is None:
        raise UsageError(f"decoder= takes one decoder, such as beam(width=4), not {shown(decoder)}")
    return strategy.decoder


def batches(n: int) -> Iterator[range]:
    """Yield the indices of n samples in batches that are decoded together.

    Example:
        >>> list(batches(130))
        [range(0, 64), range(64, 128), range(128, 130)]
    """
    return (range(first, min(first + BATCH, n)) for first in range(0, n, BATCH))


@dataclass(frozen=True)
class Texts:
    """The texts to write.

    Attributes:
        prompt: the beginning of all texts.
        strategy: the sampler and the decoder.
        length: tokens to draw for each text, at most.
        n: the number of texts.
        seed: the random seed.
        endings: what ends a text before its end token and its length.
        unknown: True to allow [UNK] to be sampled.
        prompt_index: the index of the prompt in a run of several prompts.
        ids: the ids of the prompt; by default its text is encoded.
    """

    prompt: str
    strategy: Strategy
    length: int
    n: int
    seed: int
    endings: Endings = field(default_factory=Endings)
    unknown: bool = False
    prompt_index: int = 0
    ids: list[int] | None = None

    def __post_init__(self) -> None:
        whole_number("length", self.length)
        whole_number("n", self.n)

    @property
    def beginning(self) -> str | list[int]:
        """The ids of the prompt, or its text."""
        return self.prompt if self.ids is None else self.ids

    def open(
        self, model: LanguageModel, samples: Sequence[int], measured: bool = False
    ) -> OpenTexts:
        """Return these samples as texts that have not begun.

        Args:
            model: the language model.
            samples: their indices.
            measured: keep a `TokenRecord` for each token; computing its entropies takes time.
        """
        return OpenTexts(model, self, samples, measured)

    def steps(
        self, model: LanguageModel, samples: Sequence[int], measured: bool = False
    ) -> Iterator[Step]:
        """Yield the steps of some samples, which are decoded together.

        Args:
            model: the language model.
            samples: their indices.
            measured: the entropies of each step will be read.

        Example:
            >>> from corelm.testing import ToyModel
            >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1)
            >>> [int(step.tokens[0]) for step in texts.steps(ToyModel(), [0])]
            [4, 9, 7]
        """
        sampler, decoder = self.strategy
        _check_decoder(decoder)
        ids = np.array(FullVocabulary(model.vocabulary).prompt_ids(self.beginning), dtype=np.int64)
        stream = RandomStream(self.seed, samples, self.prompt_index)
        task = DecodingTask(model, ids, sampler, stream, self.length, self.unknown, measured)
        plugins = registry()
        observed = plugins.load_observers()
        decode = decoder or Ancestral()
        for step in steps_in_order(
            decode, task, lambda: f"{decode!r} of {plugins.source_of(type(decode)).distribution}"
        ):
            if observed:
                plugins.observe(step)
            yield step

    def of_prompts(self, prompts: Sequence[str], independent: bool = True) -> list[Texts]:
        """Return these texts for each of several prompts.

        Args:
            prompts: the prompts, which take the place of `prompt`.
            independent: give each prompt the random numbers of its index, as in a report.
        """
        return [
            replace(self, prompt=prompt, prompt_index=i if independent else self.prompt_index)
            for i, prompt in enumerate(prompts)
        ]

    def batches(
        self, prompts: Sequence[str], independent: bool = False
    ) -> Iterator[list[tuple[Texts, range]]]:
        """Yield n texts of each of several prompts, one prompt after the other, in batches.

        A batch is a list of pairs: the texts of one prompt, and their samples in the batch.

        Args:
            prompts: the prompts, which take the place of `prompt`.
            independent: give each prompt the random numbers of its index, as in a report.

        Example:
            >>> from corelm.registry.strategies import Strategy
            >>> texts = Texts("", Strategy.of("greedy"), 3, 50, 1, Endings())
            >>> for batch in texts.batches(["the", "a"]):
            ...     print([(part.prompt, samples) for part, samples in batch])
            [('the', range(0, 50)), ('a', range(0, 14))]
            [('a', range(14, 50))]
        """
        of_prompts, n = self.of_prompts(prompts, independent), self.n
        for numbers in batches(len(prompts) * n):
            parts = range(numbers.start // n, (numbers.stop - 1) // n + 1)
            yield [
                (
                    of_prompts[i],
                    range(max(numbers.start - i * n, 0), min(numbers.stop - i * n, n)),
                )
                for i in parts
            ]


def stream(
    model: StatelessModel | str | os.PathLike[str],
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    sample: int = 0,
    seed: int | None = None,
    decoder: Decoder | str | None = None,
    stop: Sequence[str] | str = (),
    stop_regex: Sequence[str] | str = (),
    stop_loop: int | None = None,
    unknown: bool = False,
    prompt_index: int = 0,
) -> Iterator[Step]:
    """Write one text and yield each step as it is drawn, with its `text`.

    It takes the arguments of `generate`, with the index of one `sample` instead of n. Text that may
    begin a stop string or pattern is held back until the next tokens decide. The last step has the
    `finish_reason`.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> drawn = corelm.stream(ToyModel(), "the", sampler="greedy", length=3)
        >>> print("".join(step.text for step in drawn))
         cat sat on
    """
    chosen = RandomStream.fresh_seed() if seed is None else seed
    endings = Endings.of(stop, stop_regex, stop_loop)
    strategy = Strategy(read_sampler(sampler), _read_decoder(decoder))
    texts = Texts(prompt, strategy, length, 1, chosen, endings, unknown, prompt_index)
    model = as_model(model)
    # No step shows how much the masks allow.
    open_texts = OpenTexts(model, texts, (sample,), constrained=False)
    yield from open_texts.stream(texts.steps(model, (sample,)))


def generate(
    model: StatelessModel | str | os.PathLike[str],
    prompt: str,
    *,
    sampler: Sampler | str,
    length: int = 50,
    n: int = 1,
    seed: int | None = None,
    decoder: Decoder | str | None = None,
    stop: Sequence[str] | str = (),
    stop_regex: Sequence[str] | str = (),
    stop_loop: int | None = None,
    unknown: bool = False,
    prompt_index: int = 0,
) -> list[Generation]:
    """Write n texts. The list shows them in a notebook, and with `print`.

    The text of a sample depends on the seed and its index alone, not on n. Engines that round
    otherwise with more texts in a pass are the exception: of 40 texts of 60 tokens from a GGUF file
    with GELU in F32, 13 differ between n=1 and n=40, where logits differ by up to 0.001.

    Args:
        model: the language model, or the name of one as `load` takes it. A name is loaded each
            time: load it once with `corelm.load` to write many texts.
        prompt: the prompt.
        sampler: a sampler, a registered name or an expression.
        length: the largest number of tokens to draw, at least 0.
        n: the number of texts, at least 0.
        seed: decides the random numbers; by default a fresh one, which each text reports.
        decoder: a decoder, or the expression of one; by default `Ancestral()`.
        stop: strings that end a text, which excludes them, or one such string.
        stop_regex: regular expressions of the package `regex` that end a text in the same way;
            after each token, the first match in the text so far counts.
        stop_loop: end a text when its last phrase, of at least two tokens, has occurred this
            many times in a row, at least 2; the repeats stay in the text. None for never.
        unknown: allow [UNK] to be sampled.
        prompt_index: the index of the prompt in a run of several prompts, as a report has it:
            texts of different prompts have different random numbers.

    Raises:
        UsageError: a request that cannot be met.
        SamplerError: the sampler raised, or its result is not a distribution.
        ModelOutputError: the model's logits are not a distribution.

    An exception in the middle of the texts, also one of the model or the decoder, has an attribute
    `generations`: the texts so far, with the `finish_reason` of each.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=3)
        >>> text.text, text.finish_reason, text.steps[0].entropy
        (' cat sat on', 'length', 0.0)
    """
    chosen = RandomStream.fresh_seed() if seed is None else seed
    endings = Endings.of(stop, stop_regex, stop_loop)
    strategy = Strategy(read_sampler(sampler), _read_decoder(decoder))
    texts = Texts(prompt, strategy, length, n, chosen, endings, unknown, prompt_index)
    model = as_model(model)
    written = Generations()
    for samples in batches(n):
        open_texts = texts.open(model, samples, measured=True)
        try:
            for _ in open_texts.take(texts.steps(model, samples, measured=True)):
                pass
            written += open_texts.generations()
        except (Exception, KeyboardInterrupt) as error:
            # Complete texts of earlier batches are worth keeping too.
            error.generations = written + error.generations  # type: ignore[union-attr]
            raise
    return written
