"""Read and write a `.keras` file: weights and the configuration of layers, never code.

A file with a class that is neither Keras's nor corelm's is rejected before Keras opens it. Keras
then reads it in safe mode. The vocabulary is in two members that `write_keras` adds.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corelm.bundles import Bundle, StoredVocabulary
from corelm.errors import MissingDependencyError, ModelFileError, UsageError
from corelm.runs import SafeFile, json_object
from corelm_train.keras_import import import_keras
from corelm_train.keras_model import KerasLanguageModel
from corelm_train.network_weights import set_weights

TEXT, VOCABULARY = "corelm.json", "vocabulary.txt"
"""The members with the settings (token style, context length, prompt) and with the tokens."""

LIMIT = 2**26
"""The largest text member, in bytes; a larger one is refused unread."""

CODE = ("Lambda", "__lambda__", "TFSMLayer")


def read_keras(path: Path) -> KerasLanguageModel:
    """Read the model of a `.keras` file that has its vocabulary.

    Raises:
        ModelFileError: a file that is missing or damaged, has code or foreign classes, or has no
            vocabulary.
        MissingDependencyError: Keras is not installed, or too old.
    """
    keras = import_keras("a .keras file")  # first, as without Keras no file can be read
    if not path.is_file():
        raise ModelFileError(f"there is no file at {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_code(json_object(_member(archive, "config.json"), "its configuration"))
            vocabulary, context_length, prompt = _text_side(archive)
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
        model = KerasLanguageModel(network, vocabulary, context_length)
        model.default_prompt, model.files = prompt, [path.absolute()]
        return model
    except MissingDependencyError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{str(path)!r}: {error}") from error
    except Exception as error:  # a Keras layer may raise any exception
        raise ModelFileError(f"{str(path)!r} cannot be read: {_sentence(error)}") from error


def write_keras(model: Bundle, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a bundle as a `.keras` file, whole or not at all.

    Args:
        model: a bundle from `Bundle.read`.
        target: the file; its name ends with `.keras`.
        overwrite: replace an existing file.

    Returns:
        The path of the file.

    Raises:
        UsageError: a name without `.keras`, or a file that exists.
        ModelFileError: a full disk, a read-only folder.
        MissingDependencyError: Keras is not installed, or too old.
    """
    path = Path(target)
    if path.suffix != ".keras":
        raise UsageError(f"the name of a Keras file must end with .keras, not {str(path)!r}")
    SafeFile(path).check_free(overwrite)
    import_keras("writing a .keras file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        SafeFile(path).write(_content(model))
    except OSError as error:
        raise ModelFileError(
            f"the model could not be written to {str(path)!r}: {error.strerror or error}"
        ) from error
    return path


def _content(model: Bundle) -> bytes:
    from corelm_train.keras_layers import build

    network = build(model.architecture)
    set_weights(network, model.weights)
    text_side: dict[str, Any] = {
        "tokens": model.vocabulary.style,
        "context_length": model.architecture.context_length,
    }
    if model.default_prompt is not None:
        text_side["prompt"] = model.default_prompt
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # A warning of Keras with NumPy 2.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        path = Path(folder) / "network.keras"  # Keras saves to a path only
        network.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(TEXT, json.dumps(text_side, indent=2, allow_nan=False))
            archive.writestr(VOCABULARY, model.vocabulary.dumps())
        return path.read_bytes()


def _text_side(archive: zipfile.ZipFile) -> tuple[StoredVocabulary, int, str | None]:
    if TEXT not in archive.namelist():
        raise ModelFileError(
            "it holds no vocabulary; load it with keras.saving.load_model and wrap it with "
            "corelm_train.keras_model.KerasLanguageModel(model, vocabulary, context_length)"
        )
    text_side = json_object(_member(archive, TEXT), f"its {TEXT}")
    tokens, context_length = text_side.get("tokens"), text_side.get("context_length")
    prompt = text_side.get("prompt")
    if not isinstance(tokens, str) or type(context_length) is not int:
        raise ModelFileError(f"its {TEXT} must have tokens and context_length")
    if not isinstance(prompt, str | None):
        raise ModelFileError(f"the prompt in its {TEXT} is not a text")
    return Bundle.read_vocabulary(_member(archive, VOCABULARY), tokens), context_length, prompt


def _member(archive: zipfile.ZipFile, name: str) -> str:
    try:
        with archive.open(name) as file:
            content = file.read(LIMIT + 1)
    except KeyError:
        raise ModelFileError(f"it has no {name}") from None
    if len(content) > LIMIT:
        raise ModelFileError(f"{name} in it has more than {LIMIT} bytes")
    return content.decode()


def _refuse_code(config: dict[str, Any]) -> None:
    """Raise if a class is neither Keras's nor corelm's."""
    # The optimizer and the losses are not loaded, so their classes don't matter.
    for entry in _entries({**config, "compile_config": None}):
        name, module = str(entry["class_name"]), str(entry.get("module"))
        if name in CODE:
            raise ModelFileError(
                f"it holds a {name}, which is code, and corelm runs none from a file"
            )
        of_keras = module == "keras" or module.startswith("keras.") or "module" not in entry
        of_corelm = str(entry.get("registered_name")).startswith("corelm>")
        if not (of_keras or of_corelm or (module, name) == ("builtins", "function")):
            raise ModelFileError(
                f"it needs the class {name!r}, which is neither Keras's nor corelm's; load it "
                "yourself and wrap it with corelm_train.keras_model.KerasLanguageModel"
            )


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield all entries of a configuration that name a class."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _sentence(error: Exception) -> str:
    """Return the first sentence of the innermost error; Keras's errors may fill pages."""
    innermost = str(error).rsplit("Exception encountered: ", 1)[-1]
    return innermost.split("\n")[0].split(". ")[0][:300] or type(error).__name__
