"""Engines to probe: in this process with a file or folder, or a server by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from corelm.errors import MissingDependencyError, UsageError
from corelm_probe.engine import Engine

IN_PROCESS: Mapping[str, tuple[str, str, str]] = {
    "transformers": ("corelm_probe.engines.transformers", "TransformersEngine", "transformers"),
    "llama_cpp": ("corelm_probe.engines.llama_cpp", "LlamaCppEngine", "llama-cpp-python"),
    "keras_hub": ("corelm_probe.engines.keras_hub", "KerasHubEngine", "keras-hub"),
    "mlx": ("corelm_probe.engines.mlx", "MlxEngine", "mlx-lm"),
}
"""The module, the class and the package of each engine that runs in this process."""


def open_engine(target: str, *, api: str = "openai", served: str = "", key: str = "") -> Engine:
    """Return the engine of a target.

    Args:
        target: `http://HOST:PORT`, or `ENGINE:PATH` with an engine of `IN_PROCESS` and a model
            that `write_models` wrote.
        api: the API of a URL: openai, llama.cpp, koboldcpp or ollama.
        served: the model's name in requests to a URL.
        key: the key for a URL, if it needs one.

    Raises:
        UsageError: no such engine, API, file or folder.
        MissingDependencyError: the engine is not installed.

    Example:
        >>> open_engine("http://localhost:8000").name
        'http://localhost:8000 (openai)'
    """
    if target.startswith(("http://", "https://")):
        from corelm_probe.engines.http import HttpEngine

        return HttpEngine(target, api, served, key)
    scheme, _, path = target.partition(":")
    if scheme not in IN_PROCESS:
        raise UsageError(
            f"{target!r} is no engine: expected http://HOST:PORT or one of "
            f"{', '.join(f'{name}:PATH' for name in IN_PROCESS)}"
        )
    if not Path(path).exists():
        raise UsageError(f"{path!r} does not exist; `corelm probe models FOLDER` writes the models")
    module, name, package = IN_PROCESS[scheme]
    try:
        engine: Any = getattr(import_module(module), name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{scheme} is not installed ({error}); install it with: pip install {package}"
        ) from error
    opened: Engine = engine(path)
    return opened
