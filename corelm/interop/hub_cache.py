"""The cache of Hugging Face, in which other engines look for models. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corelm.errors import UnknownNameError


def hub_models() -> Iterator[str]:
    """Yield the names of the models in the cache of Hugging Face that have safetensors.

    It needs the package `huggingface_hub`, as the engines do that use the cache.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*")):
        if any(folder.glob("snapshots/*/*.safetensors")):
            yield folder.name.removeprefix("models--").replace("--", "/")


def check_hub_model(name: str) -> None:
    """Raise if a name is neither a folder nor a model in the cache of Hugging Face.

    Call it before you import an engine, which takes seconds.

    Args:
        name: the path of a folder, or the name of a model.

    Raises:
        UnknownNameError: neither; the message has the command to download a model.

    Example:
        >>> check_hub_model("./nowhere")
        Traceback (most recent call last):
        corelm.errors.UnknownNameError: there is no folder ./nowhere
    """
    if Path(name).is_dir():
        return
    if name.startswith((".", "~")) or Path(name).is_absolute():
        raise UnknownNameError(f"there is no folder {name}")
    if name not in hub_models():
        raise UnknownNameError(
            f"there is no folder {name}, and no model of that name with safetensors in the cache "
            f"of Hugging Face; to download one, run: hf download {name}"
        )
