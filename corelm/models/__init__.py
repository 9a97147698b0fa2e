"""Models by name: those that ship with corelm, those on disk, and the facts about a model.

The models that ship with corelm, and the reader of models on disk, are offered like any others. The
modules of this package have networks, vocabularies, files, and the formats of other engines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from corelm.contracts.hookspecs import hookimpl
from corelm.errors import ModelFileError, UsageError
from corelm.registry.listed_models import SHIPPED, list_models
from corelm.registry.loading import MODEL, label
from corelm.registry.models import as_model, load, loaded_name, plugin_of
from corelm.registry.registry import registry
from corelm.text.lines import is_finite_number

if TYPE_CHECKING:
    from corelm.contracts.hookspecs import ModelLoader
    from corelm.contracts.language_model import LanguageModel, StatelessModel
    from corelm.registry.listed_models import ListedModel
    from corelm.registry.offers import Source


@dataclass(frozen=True)
class FromBundle:
    """A function without arguments that loads the model in a folder, for a plugin to offer."""

    path: Path

    def __call__(self) -> LanguageModel:
        from corelm.models.bundle import Bundle
        from corelm.models.numpy_model import NumpyModel

        bundle = Bundle.read(self.path)
        return NumpyModel(bundle.architecture, bundle.vocabulary, bundle.weights, bundle.manifest)


def open_path(path: str) -> LanguageModel:
    """Open a folder that corelm has written, or a `.keras` file.

    Raises:
        UsageError: a model of another engine; the message has the way to open it.
        ModelFileError: a model that is missing, damaged or foreign.
        MissingDependencyError: a `.keras` file, and Keras cannot be imported.
    """
    if way := _way_to_open(path):
        raise UsageError(way)
    if path.endswith(".keras"):
        model: LanguageModel = import_module("corelm_train.keras_file").read_keras(Path(path))
        return model
    try:
        return FromBundle(Path(path))()
    except ModelFileError:
        if Path(path).exists() or not (name := re.fullmatch(_HUB, path)):
            raise
        raise UsageError(
            f"there is no model at {path!r}; a name of Hugging Face is opened as "
            f"transformers:{name[1]}"
        ) from None


_HUB = r"(?:https://huggingface\.co/)?(\w[\w.-]*/[\w.-]+)"
_ENGINES = {
    "gguf": ("a file of llama.cpp", "corelm-llama-cpp"),
    "transformers": ("a folder of transformers", "corelm-transformers"),
    "keras_hub": ("a preset of KerasHub", "corelm-keras-hub"),
}
"""The model formats of engines by the scheme that opens them, with the scheme's package."""


def _way_to_open(path: str) -> str | None:
    """Return how to open a model of another engine; None for every other path."""
    scheme = _scheme_of(Path(path))
    if scheme is None:
        return None
    form, package = _ENGINES[scheme]
    is_installed = any(source.entry_point == scheme for source in registry().sources())
    after = "" if is_installed else f", after installing {package}"
    return f"{path} is {form}: open it as {scheme}:{path}{after}"


def _scheme_of(place: Path) -> str | None:
    try:
        if place.suffix.lower() == ".gguf" and place.is_file():
            return "gguf"
        # A model of corelm has a config.json too, next to its manifest.
        if not (place / "config.json").is_file() or (place / "manifest.json").is_file():
            return None
        return "keras_hub" if (place / "task.json").is_file() else "transformers"
    except (OSError, ValueError):  # the system allows no such file name
        return None


@hookimpl
def corelm_models() -> Mapping[str, ModelLoader]:
    """Return two models of IMDB reviews, read from disk when they are loaded, and the reader."""
    from corelm.contracts.language_model import ModelScheme  # late: reports import the files alone

    folder = Path(__file__).with_name("pretrained")
    shipped = {name: FromBundle(folder / name) for name in SHIPPED}
    return {**shipped, "path": ModelScheme(open_path)}


# ---- a model with its name ----


OPENING = "The"
"""The prompt of a model without one of its own, if its vocabulary has this word."""
LISTED = 8
"""The most unknown words that a note lists."""
PROBES = 16
"""The tokens after which a model is asked for distributions that identify it."""


# No dataclass: every command that loads a model would wait while it is made.
class NamedModel:
    """A language model and its name for display.

    Attributes:
        model: the model, with sessions.
        name: its name or path, without the prefix of corelm's own models.

    Example:
        >>> model = NamedModel.of("corelm:imdb")
        >>> model.name, model.plugin.distribution, model.default_prompt
        ('imdb', 'corelm', 'This movie')
    """

    DEFAULT: ClassVar[str] = MODEL
    """The model to use when none is named."""
    MESSAGE: ClassVar[str] = "Tell me a story."
    """The message to a chat model when none is given."""

    name: str = ""

    def __init__(self, model: LanguageModel, name: str = "") -> None:
        self.model: LanguageModel = model
        self.name = name

    @classmethod
    def of(cls, model: StatelessModel | str | os.PathLike[str]) -> NamedModel:
        """Return a model with its name, or load the one of a name or path.

        Raises:
            UsageError: neither a model nor the name of one.
        """
        if isinstance(model, str | os.PathLike):
            return cls(load(model), label(os.fspath(model)))
        return cls(as_model(model), label(loaded_name(model) or type(model).__name__))

    label: ClassVar[Callable[[str], str]] = staticmethod(label)
    plugin_of: ClassVar[Callable[[object], Source | None]] = staticmethod(plugin_of)
    listed: ClassVar[Callable[..., list[ListedModel]]] = staticmethod(list_models)

    @property
    def plugin(self) -> Source | None:
        """The plugin that loaded it; None for a file's, or one that the program made."""
        return plugin_of(self.model)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Its manifest; empty if it has none."""
        manifest = getattr(self.model, "manifest", None)
        return manifest if isinstance(manifest, Mapping) else {}

    @property
    def sha256(self) -> str | None:
        """The checksum in its manifest, which covers all its files; None without one."""
        checksum = self.manifest.get("checksum")
        return checksum if isinstance(checksum, str) else None

    def fingerprint(self) -> str:
        """Return what distinguishes the model from others, a sha256 with what it was taken of.

        The checksum in the manifest stands alone. Else it is `files:` with that of the model's
        `files`, or `distribution:` with that of its predictions after `PROBES` single tokens, which
        another model may share.

        Raises:
            ModelFileError: a file of the model cannot be read.
        """
        if self.sha256 is not None:
            return self.sha256
        # Late, as the command line looks for names alone.
        from corelm.atomic_files import sha256, sha256_of_files

        if files := getattr(self.model, "files", ()):
            return f"files:{sha256_of_files(files)}"
        import numpy as np

        vocabulary = self.model.vocabulary
        special = [id for id in (vocabulary.padding, vocabulary.unknown) if id is not None]
        ids = np.setdiff1d(np.arange(len(vocabulary)), special)
        tokens = ids[np.linspace(0, len(ids) - 1, PROBES).astype(np.int64), None]
        distributions = np.asarray(self.model.next_token_distribution(tokens))
        return f"distribution:{sha256(distributions.tobytes())}"

    @property
    def human_surprisal(self) -> dict[str, float] | None:
        """The `mean` surprisal of human text in nats, and the ends of its interval, `low`, `high`.

        None if its manifest has no valid figures: anybody may have edited that file.

        Example:
            >>> NamedModel.of("imdb").human_surprisal["mean"]
            4.20817
        """
        human = _at(self.manifest, "figures", "human")
        mean, ends = _at(human, "surprisal"), _at(human, "ci95", "surprisal")
        low, high = ends if isinstance(ends, list) and len(ends) == 2 else (mean, mean)
        if not all(map(is_finite_number, (low, mean, high))) or not 0 <= low <= mean <= high:
            return None
        return {"mean": mean, "low": low, "high": high}

    @property
    def default_prompt(self) -> str:
        """The prompt to use when none is given.

        A model states its prompt as `default_prompt`, a bundle in its manifest. Another one gets
        "The", or the first word of a vocabulary that lacks it.
        """
        stated, vocabulary = getattr(self.model, "default_prompt", None), self.model.vocabulary
        if isinstance(stated, str):
            return stated
        words = (vocabulary.decode([token]).strip() for token in range(len(vocabulary)))
        usable = (word for word in words if word.isalpha() and self._can_read(word))
        return OPENING if self._can_read(OPENING) else next(usable, OPENING)

    def _can_read(self, text: str) -> bool:
        try:
            self.model.vocabulary.encode(text)
        except UsageError:
            return False
        return not self.unknown_words([text])

    def unknown_words(self, texts: Iterable[str]) -> str:
        """Return a list of the words of texts that the model does not know; "" if there are none.

        Example:
            >>> from corelm.testing import ToyModel
            >>> NamedModel(ToyModel()).unknown_words(["the cat", "the zebra"])
            "'zebra'"
        """
        from corelm.abilities.optional import FullVocabulary

        of_text = FullVocabulary(self.model.vocabulary).unknown_words
        words = list(dict.fromkeys(word for text in texts for word in of_text(text)))
        more = f" and {len(words) - LISTED:,} more" if len(words) > LISTED else ""
        return ", ".join(map(repr, words[:LISTED])) + more

    def notes(self, prompts: Sequence[str]) -> list[str]:
        """Return notes on what the model can't read of prompts: unknown words, a long beginning.

        Example:
            >>> from corelm.testing import ToyModel
            >>> NamedModel(ToyModel()).notes(["the cat", "the " * 130])
            ['the prompt has 130 tokens, and the model sees the last 81 of them: its context is 100']
        """  # noqa: E501  the note
        from corelm.abilities.optional import FullVocabulary
        from corelm.contracts.language_model import window_start

        vocabulary, context = FullVocabulary(self.model.vocabulary), self.model.context_length
        words = self.unknown_words(map(vocabulary.without_start, prompts))
        notes = (
            [f"the model does not know {words}; it reads unknown words as [UNK]"] if words else []
        )
        most = max((len(vocabulary.prompt_ids(text)) for text in prompts), default=0)
        # The start token takes a place in the context too.
        length = most + (self.model.vocabulary.start is not None)
        if unseen := window_start(length, context):
            notes.append(
                f"the prompt has {most:,} tokens, and the model sees the last {length - unseen:,} "
                f"of them: its context is {context:,}"
            )
        return notes


def _at(part: Any, *keys: str) -> Any:
    for key in keys:
        part = part.get(key) if isinstance(part, dict) else None
    return part
