"""Open the models of transformers on this machine: `--model transformers:PATH`."""

from contextlib import contextmanager
from pathlib import Path

from corelm import CorelmError, ModelScheme, ParameterError, hookimpl
from corelm.interop import requirements
from corelm.runs import printable
from corelm_transformers import ENGINE


@ENGINE
def open_model(name, device=None, dtype=None):
    """Return the model in a folder, or of a name in the cache of Hugging Face.

    Only files on this machine are read, weights only from safetensors, and no code of a model is
    run.

    Args:
        name: a folder, or a name such as `gpt2`.
        device: such as `cuda`; by default the CPU.
        dtype: float32, float16 or bfloat16; by default the weights' own.

    Raises:
        ParameterError: no such device or dtype.
        CorelmError: a model that is missing, damaged or foreign.
        MissingDependencyError: transformers is not installed, or has another interface.
    """
    model, tokenizer, files = _load(name, dtype)
    if device is not None:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(f"device {device!r}: {printable.shown(error)}") from None
    from corelm_transformers.model import TransformersModel

    opened = TransformersModel(model, tokenizer)
    opened.files = files
    return opened


def _load(name, dtype):
    """Return the model and the tokenizer of a folder or a name, and their files."""
    requirements.check_model(name, dtype)
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import cached_file

    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = cached_file(name, "config.json", local_files_only=True)
        if config is None:
            raise CorelmError("there is no config.json")
        files = requirements.check_model(Path(config).parent)
        with _no_progress_bar():
            tokenizer = AutoTokenizer.from_pretrained(name, **offline)
            model, report = AutoModelForCausalLM.from_pretrained(
                name,
                **offline,
                use_safetensors=True,
                dtype=dtype or "auto",
                output_loading_info=True,
            )
    except Exception as error:  # a library's error, of any type
        reason = printable.shown(error)
        raise CorelmError(f"transformers cannot open {name}: {reason}") from error
    # Transformers fills missing weights with random numbers.
    if missing := sorted(report["missing_keys"]):
        raise CorelmError(f"{name} lacks the weights {', '.join(missing[:3])}")
    return model, tokenizer, files


@contextmanager
def _no_progress_bar():
    """Switch off the progress bars of transformers, which would mix with corelm's messages."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


@hookimpl
def corelm_models():
    return {
        "transformers": ModelScheme(
            open_model, "PATH", ("device", "dtype"), requirements.hub_models
        ),
    }
