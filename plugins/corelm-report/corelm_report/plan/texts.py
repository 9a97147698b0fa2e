"""The texts that a report is given: human texts to compare with, and prompts from a file.

JSON lines may name the cluster of each prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corelm import LanguageModel
from corelm.bundles import Corpus
from corelm.errors import CorelmError, UsageError
from corelm.runs import NamedModel, SafeFile, machine, printable, text_lines
from corelm_report.settings import Prompts

HOW_TO_GIVE = "give some as the reference (--reference FILE, reference=FILE)"

OF_HUMAN_WORDS = ("human_recall", "human_surprisal")
"""The figures that need human contexts."""
SUFFIXES = (".jsonl", ".ndjson")
"""The suffixes of files of JSON lines."""
LARGEST = 2**30
"""The largest file of JSON lines, in bytes."""


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


def parse_prompts(text: str, name: str) -> Prompts:
    """Return the prompts in a file; in one of JSON lines each may name its cluster.

    Prompts of one cluster, such as the paragraphs of a document, have something in common, so the
    clusters are the independent units.

    Args:
        text: the content of the file.
        name: its name, whose suffix decides the format.

    Raises:
        UsageError: there is no prompt, or an invalid line; the message has its number.

    Example:
        >>> parse_prompts('{"prompt": "a", "cluster": "one"}', "p.jsonl"), parse_prompts("a", "p")
        ({'a': 'one'}, ['a'])
    """
    if name.endswith(SUFFIXES):
        return _clustered(text_lines(text, name, "prompt", "cluster"), name)
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UsageError(f"there is no prompt in {name}")
    return prompts


def _clustered(pairs: Iterable[tuple[str, str | int | None]], name: str) -> Prompts:
    """Return the prompts, as a mapping to their clusters if they have clusters.

    Raises:
        UsageError: only some have a cluster, or a prompt has two.
    """
    cluster_of: dict[str, str | None] = {}
    listed = list(pairs)
    for prompt, value in listed:
        cluster = None if value is None else str(value)
        if cluster_of.setdefault(prompt, cluster) != cluster:
            raise UsageError(f"{name}: the prompt {printable.shown(prompt)} has two clusters")
    clusters = {prompt: each for prompt, each in cluster_of.items() if each is not None}
    if clusters and len(clusters) < len(cluster_of):
        missing = next(prompt for prompt in cluster_of if prompt not in clusters)
        raise UsageError(
            f"{name}: the prompt {printable.shown(missing)} has no cluster, and others have one"
        )
    return clusters or [prompt for prompt, _ in listed]


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
