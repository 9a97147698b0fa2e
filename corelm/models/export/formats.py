"""The formats of other engines, each with the module that writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corelm.models.bundle import Bundle
    from corelm.models.byte_pairs import BytePairVocabulary

Files = Mapping[str, bytes] | bytes
"""The files of a folder by name, or the content of a single file."""


@dataclass(frozen=True)
class Format:
    """A format to export to.

    Attributes:
        module: has a function `files`, which returns the files of a model and may need a library.
        suffix: the end of the name of a single file; empty for a folder.
        help: the format in a few words.
    """

    module: str
    suffix: str
    help: str

    def files(self, model: Bundle, vocabulary: BytePairVocabulary) -> Files:
        """Return the files of a folder by name, or the content of a single file."""
        module: Any = import_module(self.module)
        files: Files = module.files(model, vocabulary)
        return files


FORMATS = {
    "transformers": Format("corelm.models.export.transformers", "", "a folder for transformers"),
    "keras_hub": Format("corelm.models.export.keras_hub", "", "a preset folder for KerasHub"),
    "gguf": Format("corelm.models.export.gguf", ".gguf", "a file for llama.cpp"),
}
