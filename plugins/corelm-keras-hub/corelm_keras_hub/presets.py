"""The scheme `keras_hub`: open a preset of KerasHub that is on this machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelm import ModelScheme, hookimpl
from corelm.errors import ModelFileError, UnknownNameError, UsageError
from corelm.interop import quiet_tensorflow, requirements
from corelm.runs import SafeFile, printable
from corelm_keras_hub import ENGINE

if TYPE_CHECKING:
    from corelm_keras_hub.model import KerasHubModel

CONFIG, TASK = "config.json", "task.json"
"""The files of a preset that describe its network, and the whole model."""
LARGEST = 2**20
"""The most bytes of the latter."""

NOT_HERE = (
    "there is no folder {name!r}, and no preset of that name in the cache of KerasHub; to download "
    'a preset, run: python -c "import keras_hub; '
    'keras_hub.models.CausalLM.from_preset({name!r})"'
)


@ENGINE
def open_preset(name: str, dtype: str | None = None) -> KerasHubModel:
    """Return the model of a preset. Nothing is downloaded.

    Args:
        name: the folder of a preset, or the name of one that KerasHub has downloaded, such as
            `gpt2_base_en`.
        dtype: the number format of its weights, such as `bfloat16`; by default Keras's own.

    Raises:
        UnknownNameError: neither a folder nor a downloaded preset.
        UsageError: an unknown dtype.
        ModelFileError: a folder that is not a preset of a causal language model, or is damaged.
        MissingDependencyError: KerasHub or the backend of Keras is not installed, or has another
            interface.
    """
    folder = _folder(name)
    files = requirements.check_model(folder)
    with quiet_tensorflow():
        import keras
        import keras_hub

        from corelm_keras_hub.model import KerasHubModel
    try:
        options = {} if dtype is None else {"dtype": keras.dtype_policies.get(dtype)}
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"Keras has no dtype {dtype!r}; try float32, float16 or bfloat16"
        ) from error
    try:
        causal_lm = keras_hub.models.CausalLM.from_preset(str(folder), **options)
        model = KerasHubModel(causal_lm)
    except Exception as error:  # a Keras layer may raise any exception
        raise ModelFileError(
            f"the preset {str(folder)!r} cannot be read: {printable.shown(error)}"
        ) from error
    model.files = files
    return model


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        downloaded = _downloaded(glob.escape(name))
        if not downloaded:
            raise UnknownNameError(NOT_HERE.format(name=name))
        folder = downloaded[-1]
    if not (folder / CONFIG).is_file():
        raise ModelFileError(f"{str(folder)!r} is not a preset of KerasHub: it has no {CONFIG}")
    return folder


def _downloaded(name: str) -> list[Path]:
    """Return the folders of a preset in the cache, the newest version last."""
    cache = os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")
    variant = os.path.join(glob.escape(cache), "models", "*", "*", "keras", name)
    versions = map(Path, glob.glob(os.path.join(variant, "*", CONFIG)))
    return sorted(
        (path.parent for path in versions if path.parent.name.isdecimal()),
        key=lambda path: int(path.name),
    )


def _installed() -> Iterator[str]:
    """Yield the names of the causal language models in the cache."""
    for name in sorted({folder.parent.name for folder in _downloaded("*")}):
        if str(_task(_downloaded(glob.escape(name))[-1]).get("class_name")).endswith("CausalLM"):
            yield name


def _task(folder: Path) -> Mapping[str, Any]:
    try:
        return SafeFile(folder / TASK).json(LARGEST)
    except ModelFileError:
        return {}


@hookimpl
def corelm_models() -> Mapping[str, ModelScheme]:
    return {
        "keras_hub": ModelScheme(
            open_preset, metavar="PRESET", options=("dtype",), installed=_installed
        )
    }
