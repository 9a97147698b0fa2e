"""Write the models: folders for transformers, vLLM, MLX and KerasHub, files for llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corelm.bundles import Architecture, Bundle, BytePairVocabulary
from corelm_probe.models import CONTEXT_LENGTH, END, MODELS, SIZE, WIDTH, WORDS, ProbeModel

HEADS, DENSE = 1, 4 * WIDTH
"""One head of size 64, the smallest size that vLLM's attention supports on a CPU."""
LAYERS = {
    "qkv": (WIDTH, 3 * WIDTH),
    "attention_out": (WIDTH, WIDTH),
    "dense_in": (WIDTH, DENSE),
    "dense_out": (DENSE, WIDTH),
}
"""The shapes of the kernels, which are all 0."""


def write_models(
    folder: str | Path, names: Sequence[str] = (), *, gguf: bool | None = None
) -> list[Path]:
    """Write models: for each NAME a folder NAME for transformers, and a file NAME.gguf.

    Args:
        folder: the folder, which is created if necessary.
        names: the models; by default all of `MODELS`.
        gguf: write GGUF files, which needs the package gguf; None writes them if it is installed.

    Returns:
        The folders and files, in the order of the names.

    Raises:
        UsageError: something of that name exists.
        MissingDependencyError: gguf is True, and the package is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path] = write_models(folder, ["flat"], gguf=False)
        ...     print(path.name, sorted(file.name for file in path.iterdir())[:2])
        flat ['config.json', 'generation_config.json']
    """
    shape = Architecture("gpt2", SIZE, CONTEXT_LENGTH, WIDTH, DENSE, HEADS)
    formats = {"transformers": ""}
    if find_spec("gguf") is not None if gguf is None else gguf:
        formats["gguf"] = ".gguf"
    return [
        Bundle(shape, CharacterVocabulary(), _weights(MODELS[name]), {}).export(
            to, Path(folder) / f"{name}{suffix}"
        )
        for name in names or MODELS
        for to, suffix in formats.items()
    ]


class CharacterVocabulary(BytePairVocabulary):
    """The end token and a token for each printable character; texts begin with no token."""

    start = None  # type: ignore[assignment]
    padding = 0
    ends = (0,)
    special = (END,)

    def __init__(self) -> None:
        super().__init__(())
        self.words = [*WORDS]


def _weights(model: ProbeModel) -> dict[str, NDArray[np.float32]]:
    weights = {
        "embedding/token_embeddings/embeddings": model.embeddings,
        "embedding/position_embeddings/embeddings": np.zeros((CONTEXT_LENGTH, WIDTH), np.float32),
        "norm/gamma": model.gamma,
        "norm/beta": model.beta,
    }
    for name in ("attention_norm", "dense_norm"):
        weights[f"block_0/{name}/gamma"] = np.ones(WIDTH, np.float32)
        weights[f"block_0/{name}/beta"] = np.zeros(WIDTH, np.float32)
    for name, size in LAYERS.items():
        weights[f"block_0/{name}/kernel"] = np.zeros(size, np.float32)
        weights[f"block_0/{name}/bias"] = np.zeros(size[1], np.float32)
    return weights
