"""Open the models of mlx-lm on this machine: `--model mlx:PATH`."""

from pathlib import Path

from corelm import CorelmError, ModelScheme, hookimpl
from corelm.interop import requirements
from corelm.runs import printable
from corelm_mlx import ENGINE

OFFLINE = {"local_files_only": True, "trust_remote_code": False}
"""Arguments for transformers; by default it asks at the terminal to run a tokenizer's code."""


@ENGINE
def open_model(name, dtype=None):
    """Return the model in a folder, or of a name in the cache of Hugging Face.

    Only files on this machine are read, weights only from safetensors, and no code of a model is
    run.

    Args:
        name: a folder, or a name such as `mlx-community/Qwen3-0.6B-4bit`.
        dtype: float32, float16 or bfloat16; by default the weights' own.

    Raises:
        ParameterError: no such dtype.
        CorelmError: a model that is missing, damaged or foreign.
        MissingDependencyError: mlx-lm is not installed, or has another interface.
    """
    folder = _folder(name, dtype)
    files = requirements.check_model(folder)
    import mlx.core as mx
    from mlx_lm import load

    from corelm_mlx.model import MlxModel

    try:
        model, tokenizer = load(str(folder), tokenizer_config=OFFLINE)
    except Exception as error:  # an engine's error, of any type
        reason = printable.shown(error)
        raise CorelmError(f"mlx-lm cannot open {name}: {reason}") from error
    if dtype is not None:
        model.set_dtype(getattr(mx, dtype))
    opened = MlxModel(model, tokenizer)
    opened.files = files
    return opened


def _folder(name, dtype):
    """Return the folder of a model, before anything slow is imported."""
    requirements.check_model(name, dtype)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, local_files_only=True))


@hookimpl
def corelm_models():
    return {"mlx": ModelScheme(open_model, "PATH", ("dtype",), requirements.hub_models)}
