"""GGUF files on the command line: `--model gguf:FILE`."""

from corelm import ModelScheme, hookimpl
from corelm_llama_cpp import ENGINE


@ENGINE
def open_file(path, **options):
    """Return the model of a GGUF file."""
    from corelm_llama_cpp import LlamaCppModel  # llama.cpp takes a second to import

    return LlamaCppModel(path, **options)


@hookimpl
def corelm_models():
    return {"gguf": ModelScheme(open_file, metavar="FILE", options=("device",))}
