"""Look up objects of corelm's other packages by entry point, which the heart never imports.

The groups are `corelm.names`, for names such as `corelm.compare`, `corelm.formats`, for formats of
models such as `.keras` files, and `corelm.records`, for files that `corelm sample` writes about a
text.
"""

from __future__ import annotations

from typing import Any

from corelm.errors import MissingDependencyError
from corelm.registry.loading import OWN
from corelm.registry.offers import entry_points

NAMES, FORMATS, RECORDS = "corelm.names", "corelm.formats", "corelm.records"

DISTRIBUTIONS = {
    *(OWN, "corelm-bench", "corelm-presets", "corelm-replay", "corelm-report", "corelm-train"),
}
"""The distributions of corelm, alone or all in one wheel: no other can offer these names."""

REQUIREMENTS = {
    "keras": "corelm[train]",
    "keras_hub": "corelm[train]",
    "Report": "corelm[report]",
    "compare": "corelm[report]",
    "plot": "corelm[report]",
    "receipt": "corelm-replay",
}
"""What to install for each object; corelm alone for others."""

INSTALLABLE = {
    "arithmetic": "corelm-arithmetic",
    "backtrack": "corelm-backtrack",
    "beam": "corelm-beam",
    "best_of": "corelm-best-of",
    "break_loop": "corelm-break-loop",
    "choice": "corelm-grammar",
    "contrastive": "corelm-contrastive",
    "cot": "corelm-best-of",
    "diverse_beam": "corelm-beam",
    "gguf": "corelm-llama-cpp",
    "green_list": "corelm-watermark",
    "group_confidence": "corelm-best-of",
    "gumbel_max": "corelm-watermark",
    "guidance": "corelm-guidance",
    "json_schema": "corelm-grammar",
    "keras_hub": "corelm-keras-hub",
    "lark": "corelm-grammar",
    "mattr": "corelm-lexical",
    "mauve": "corelm-mauve",
    "mbr": "corelm-best-of",
    "min_k": "corelm-min-k",
    "mlx": "corelm-mlx",
    "mtld": "corelm-lexical",
    "p_less": "corelm-p-less",
    "power": "corelm-power",
    "regex": "corelm-grammar",
    "replay": "corelm-replay",
    "play": "corelm-serve",
    "probe": "corelm-probe",
    "self_certainty": "corelm-best-of",
    "serve": "corelm-serve",
    "speculative": "corelm-speculative",
    "stochastic_beam": "corelm-beam",
    "synthid": "corelm-watermark",
    "tail_confidence": "corelm-best-of",
    "transformers": "corelm-transformers",
    "verify": "corelm-replay",
    "vote": "corelm-best-of",
    "watermark": "corelm-watermark",
}
"""The package of each sampler, decoder, scheme of models, metric and command."""


def package_object(group: str, name: str) -> Any:
    """Return an object that a package of corelm offers.

    Args:
        group: `NAMES`, `FORMATS` or `RECORDS`.
        name: the name of the entry point.

    Raises:
        MissingDependencyError: the package is not installed; the message has the command.

    Example:
        >>> package_object(FORMATS, "gguf").__name__
        'corelm.models.export.gguf'
    """
    points = [point for point in entry_points(group) if point.name == name]
    point = next((point for point in points if point.distribution in DISTRIBUTIONS), None)
    if point is None:
        raise MissingDependencyError(
            f"{name} is in a package of corelm that is not installed; install it with: "
            f'pip install "{REQUIREMENTS.get(name, OWN)}"'
        )
    return point.load()
