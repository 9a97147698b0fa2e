"""The texts of a plan: human texts to compare with, and the beginnings that samplers continue.

Texts compare with human text only at the same places: behind the same beginnings, or at least as
far behind beginnings of the model's own. So by default each text has a beginning of its own, the
first tokens of a human text, or otherwise tokens drawn from the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from corelm import LanguageModel, Vocabulary, generate
from corelm.abilities import FullVocabulary
from corelm.bundles import Corpus
from corelm.errors import CorelmError, UsageError
from corelm.runs import Expression, NamedModel, SafeFile, machine, printable, text_lines
from corelm_report.settings import Prompts
from corelm_stats import BEGINNING, LENGTH
from corelm_stats.estimates import MANY

HOW_TO_GIVE = "give some as the reference (--reference FILE, reference=FILE)"

OF_HUMAN_WORDS = ("human_recall", "human_surprisal")
"""The figures that need human contexts."""
SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""
LARGEST = 2**30
"""The largest file of JSON lines, in bytes."""
SPARE = 4
"""The human texts to read, or texts to draw, for each beginning, as some give none."""
APART = 2**40
"""What is added to the seed of the texts to draw their beginnings, which share no numbers."""


@dataclass(frozen=True)
class HumanCorpus:
    """Human texts: the source of the human entry and the contexts of all samplers.

    Attributes:
        texts: the texts.
        description: their source, in words.
        prompts: the prompt of each text, if a file of JSON lines has them.
        prompt_lengths: the number of tokens at the beginning of each text that are a prompt of the
            samplers; empty if their prompts are not from these texts.
    """

    texts: tuple[str, ...]
    description: str
    prompts: tuple[str, ...] = ()
    prompt_lengths: tuple[int, ...] = ()

    def first(self, count: int) -> HumanCorpus:
        """Return the first texts."""
        texts, lengths = self.texts[:count], self.prompt_lengths[:count]
        return HumanCorpus(texts, self.description, self.prompts[:count], lengths)


def read_corpus(source: Any, model: LanguageModel, count: int) -> HumanCorpus | None:
    """Return the given texts; by default, downloaded reviews that the model has not seen.

    Args:
        source: texts, the path of texts, or None.
        model: the model.
        count: the largest number of texts.

    Raises:
        UsageError: neither texts nor a path.
        DataError, ModelFileError: the path cannot be read.
    """
    if source is None:
        path = machine.home() / "data" / "aclImdb" / "test"
        corpus = NamedModel(model).manifest.get("training")
        if not isinstance(corpus, Mapping) or corpus.get("corpus") != "imdb" or not path.is_dir():
            return None
        return HumanCorpus(
            tuple(Corpus.texts_in(path, count)), "IMDB reviews that the model has not seen"
        )
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.suffix in SUFFIXES:
            return _with_prompts(path, count)
        return HumanCorpus(tuple(Corpus.texts_in(path, count)), f"texts of {path.name}")
    texts = tuple(source)
    if not all(isinstance(text, str) for text in texts) or not any(map(str.strip, texts)):
        raise UsageError("the reference must be a path of texts, or a list of texts")
    return HumanCorpus(texts[:count], f"{printable.counted(len(texts[:count]), 'text')} given")


def _with_prompts(path: Path, count: int) -> HumanCorpus:
    """Return the texts in a file of JSON lines, and their prompts if each has one.

    Raises:
        UsageError: an invalid line; the message has its number.
        ModelFileError: the file cannot be read.
    """
    lines = text_lines(SafeFile(path).text(LARGEST), path.name, "text", "prompt")[:count]
    texts, prompts = zip(*lines, strict=True)
    has_prompts = all(isinstance(each, str) for each in prompts)
    return HumanCorpus(texts, f"texts of {path.name}", prompts if has_prompts else ())


def check_human(human: HumanCorpus | None, figures: Iterable[str], model: LanguageModel) -> None:
    """Raise if figures to match need human texts, or the model knows none of their words."""
    unknown = model.vocabulary.unknown
    if human is None:
        for figure in filter(OF_HUMAN_WORDS.__contains__, figures):
            raise UsageError(f"{figure} needs human contexts: {HOW_TO_GIVE}")
    elif unknown is not None and all(
        set(model.vocabulary.encode(text)) <= {unknown} for text in human.texts
    ):
        raise UsageError(
            f"the model knows no word of the human texts ({human.description}); give texts in its "
            "language and vocabulary as the reference"
        )


def known_texts(source: Any, model: LanguageModel) -> tuple[str, ...]:
    """Return a note if the model was trained on these texts; else nothing.

    Args:
        source: texts, the path of texts, or None.
        model: the model, whose manifest has the digest of its texts.
    """
    training = NamedModel(model).manifest.get("training")
    if source is None or not isinstance(training, Mapping):
        return ()
    note = "the model was trained on texts of the reference, so it knows them better than others; "
    note += "give held-out texts, such as those that `corelm data held-out` writes"
    digest = training.get("texts_digest")  # older models' manifests have none
    return (note,) if digest and digest in _digests(source, training) else ()


def _digests(source: Any, training: Mapping[str, Any]) -> Iterator[str]:
    """Yield the digest of the texts, and the digest of the part that a training learns from."""
    if not isinstance(source, (str, Path)):
        yield Corpus.digest(tuple(source))
        return
    path = Path(source)
    # Reading a folder takes a while, so only a folder with the name of the training corpus is read.
    if path.is_dir() and training.get("corpus") not in (path.name, path.absolute().parent.name):
        return
    yield Corpus.digest(Corpus.texts_in(path))
    with suppress(CorelmError):  # too little text for a held-out part
        yield Corpus.digest(Corpus.of(path, training.get("held_out", 0.05)).train)


def clusters_of(prompts: Any) -> tuple[str, ...]:
    """Return the cluster of each prompt; none if they are not given as a mapping.

    Raises:
        UsageError: a cluster that isn't a string.
    """
    if not isinstance(prompts, Mapping):
        return ()
    for each in prompts.values():
        if not isinstance(each, str):
            raise UsageError(f"the cluster of a prompt is a text, not {printable.shown(each)}")
    return tuple(prompts.values())


@dataclass(frozen=True)
class Beginnings:
    """The beginnings that samplers continue, and the human texts to compare with.

    Attributes:
        prompts: the beginnings.
        human: human texts: one for each beginning, if its `prompt_length` isn't 0.
        n: the number of texts for each beginning.
        length: the largest number of tokens of a text.
        source: the source of the beginnings in words; None for prompts that a user gave, and for
            the model's own prompt.
        notes: what a reader should know of texts that were left out.
        messages: of prompts in a chat template, the messages in them.
    """

    prompts: tuple[str, ...]
    human: HumanCorpus | None
    n: int
    length: int
    source: str | None = None
    notes: tuple[str, ...] = ()
    messages: Mapping[str, str] = field(default_factory=dict)


def distinct(source: str | Prompts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the distinct prompts, and a note that counts the others."""
    items = (
        [source] if isinstance(source, str) or not isinstance(source, Iterable) else list(source)
    )
    if not all(isinstance(item, str) for item in items):
        raise UsageError(f"prompts are texts, not {printable.shown(source)}")
    prompts = tuple(dict.fromkeys(items))
    if not prompts:
        raise UsageError("a report needs at least one prompt")
    copies = len(items) - len(prompts)
    of = f"{copies} of {printable.counted(len(items), 'prompt')}"
    verb = "repeats an earlier one and is" if copies == 1 else "repeat earlier ones and are"
    return prompts, (f"{of} {verb} left out",) if copies else ()


def continued(
    model: LanguageModel, human: HumanCorpus, n: int, length: int, write: Callable[[str], str] = str
) -> Beginnings:
    """Return the prompts of human texts, which samplers continue too.

    Args:
        model: the model.
        human: the texts with their prompts.
        n: the number of prompts, and of texts.
        length: the largest number of tokens of a text.
        write: writes a prompt for the model.
    """
    messages = {write(prompt): prompt for prompt in human.prompts}
    of_message = {prompt: written for written, prompt in messages.items()}
    written = replace(human, prompts=tuple(of_message[prompt] for prompt in human.prompts))
    prompts, corpus, notes = of_human_texts(model, written)
    some = prompts[:n]
    return Beginnings(
        some, corpus.first(n), -(-n // len(some)), length, notes=notes, messages=messages
    )


def by_default(
    model: LanguageModel, reference: Any, n: int, length: int, contexts: int, seed: int
) -> Beginnings:
    """Return n beginnings, of human texts or of the model's; else the model's prompt for n texts.

    Args:
        model: the model.
        reference: human texts, their path, or None.
        n: the number of beginnings, and of texts.
        length: the largest number of tokens of a text; by default a beginning is part of it.
        contexts: the human texts to read at least.
        seed: the seed of the texts.

    Raises:
        UsageError, DataError: as `read_corpus`.

    Example:
        >>> from corelm.testing import ToyModel
        >>> some = by_default(ToyModel(), None, n=3, length=9, contexts=2, seed=1)
        >>> len(some.prompts), some.n, some.source
        (3, 1, 'drawn from the model')
    """
    tokens = min(LENGTH, model.context_length) - BEGINNING if length == LENGTH else length
    human = read_corpus(reference, model, max(SPARE * max(n, MANY), contexts))
    notes: tuple[str, ...] = ()
    if human is not None and human.prompts:
        return continued(model, human, n, length)
    if human is not None:
        try:
            prompts, corpus, _ = of_human_texts(model, human, BEGINNING)
        except UsageError as error:
            notes = (f"{error}; so samplers and human texts are compared on the contexts alone",)
        else:
            each = -(-n // len(prompts[:n]))
            return Beginnings(prompts[:n], corpus.first(n), each, max(tokens, 1), "of human texts")
    elif prompts := _drawn(model, n, seed):
        each = -(-n // len(prompts))  # more of each, if there are fewer beginnings
        source = "drawn from the model"
        source += ", each after a word of its vocabulary" if model.vocabulary.start is None else ""
        return Beginnings(prompts, None, each, max(tokens, 1), source)
    human = human and replace(human, texts=human.texts[: max(n, contexts)])
    return Beginnings((NamedModel(model).default_prompt,), human, n, length, notes=notes)


def _drawn(model: LanguageModel, count: int, seed: int) -> tuple[str, ...]:
    """Draw distinct beginnings of texts from the model.

    A model that can't begin a text goes on after single words of its vocabulary.
    """
    vocabulary = model.vocabulary
    if model.context_length <= BEGINNING:
        return ()
    starts, n = [""], SPARE * count
    if vocabulary.start is None:
        words = _words(vocabulary)
        order = np.random.default_rng(seed).permutation(len(words))[: SPARE * count]
        starts, n = [words[at] for at in order], 1
    read = dict[str, None]()
    for index, start in enumerate(starts):
        ids = [*vocabulary.encode(start)] if start else []
        drawn = generate(
            model, start, sampler=Expression.built_in("stochastic"), length=BEGINNING - len(ids),
            n=n, seed=seed + APART, prompt_index=index,
        )  # fmt: skip
        whole = ([*ids, *each.tokens] for each in drawn)
        texts = ((vocabulary.decode(each), each) for each in whole if len(each) == BEGINNING)
        read |= {text: None for text, each in texts if [*vocabulary.encode(text)] == each}
        if len(read) >= count:
            break
    return tuple(read)[:count]


def _words(vocabulary: Vocabulary) -> list[str]:
    """Return the words of a vocabulary that are one token; capitalised ones, if it has any.

    Capital letters begin a word, where other tokens may be a part of one.
    """
    texts = {vocabulary.decode([token]).strip() for token in range(len(vocabulary))}
    words = sorted(text for text in texts if text.isalpha() and len(text) > 1)
    words = [word for word in words if word.istitle()] or words
    return [word for word in words if len(vocabulary.encode(word)) == 1]


def of_human_texts(
    model: LanguageModel, human: HumanCorpus | None, length: int = 0
) -> tuple[tuple[str, ...], HumanCorpus, tuple[str, ...]]:
    """Divide human texts into prompts and their continuations.

    A text is left out if it ends with its prompt, if the prompt's tokens change by decoding and
    encoding, as unknown words do, or if an earlier text begins with the same tokens.

    Args:
        model: the model whose vocabulary encodes the texts.
        human: the texts, or None if there are none.
        length: the number of tokens of a prompt; 0 for the prompts of the texts.

    Returns:
        The prompts, each once; the texts, one for each prompt; a note on texts that were left out.

    Raises:
        UsageError: no texts, or fewer than 8 prompts, too few for paired intervals.

    Example:
        >>> from corelm.testing import ToyModel
        >>> words = ToyModel().vocabulary.words[3:]
        >>> texts = tuple(f"the {word} sat" for word in words)
        >>> fables = HumanCorpus((*texts, "the"), "fables")
        >>> prompts, _, notes = of_human_texts(ToyModel(), fables, 2)
        >>> prompts[:2], notes[0][:47]
        (('the and', 'the cat'), '1 of 11 human texts gives no prompt of 2 tokens')
    """
    if human is None:
        raise UsageError(f"prompts from the reference need human texts: {HOW_TO_GIVE}")
    vocabulary = FullVocabulary(model.vocabulary)
    by_prompt, reasons = dict[str, tuple[str, int]](), Counter[str]()
    own = human.prompts if not length else ("",) * len(human.texts)
    for text, prompt in zip(map("".join, zip(own, human.texts, strict=True)), own, strict=True):
        ids = list(model.vocabulary.encode(text))[: model.context_length]
        size = length or len(vocabulary.prompt_ids(prompt))
        prompt = prompt or model.vocabulary.decode(ids[:size])
        if len(ids) <= size:
            reasons["too short"] += 1
        elif vocabulary.prompt_ids(prompt) != ids[:size]:
            reasons["with unknown or divided words in it"] += 1
        elif prompt in by_prompt:
            reasons["with the beginning of an earlier one"] += 1
        else:
            by_prompt[prompt] = text, size
    if length and reasons["too short"] == len(human.texts):
        raise UsageError(
            f"no human text has more than {printable.counted(length, 'token')} within the model's "
            f"context of {model.context_length}: take shorter prompts from the reference, or "
            "longer texts"
        )
    left_out = (_left_out(len(human.texts), reasons, length),) if reasons else ()
    if len(by_prompt) < MANY:
        why = "".join(f"; {note}" for note in left_out)
        raise UsageError(
            f"paired intervals need at least {MANY} prompts, and the human texts give "
            f"{len(by_prompt)}{why}; give at least {MANY} such texts as the reference, and as many "
            "contexts"
        )
    first = "token" if length == 1 else printable.counted(length, "token")
    after = f"their first {first}" if length else "their prompts"
    texts, sizes = zip(*by_prompt.values(), strict=True)
    corpus = HumanCorpus(texts, f"{human.description}, after {after}", prompt_lengths=sizes)
    return tuple(by_prompt), corpus, left_out


def _left_out(texts: int, reasons: Mapping[str, int], length: int) -> str:
    """Return a note that counts the texts that were left out, with the reasons."""
    n, tokens = sum(reasons.values()), f" of {printable.counted(length, 'token')}" if length else ""
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return (
        f"{n} of {texts} human texts {'gives' if n == 1 else 'give'} no prompt{tokens} and "
        f"{'is' if n == 1 else 'are'} left out ({why})"
    )
