"""The packages of corelm's repository, by the names that they offer."""

from __future__ import annotations

import re

PACKAGES = {
    "arithmetic": "corelm-arithmetic",
    "backtrack": "corelm-backtrack",
    "beam": "corelm-beam",
    "best_of": "corelm-best-of",
    "choice": "corelm-grammar",
    "contrastive": "corelm-contrastive",
    "diverse_beam": "corelm-beam",
    "gguf": "corelm-llama-cpp",
    "green_list": "corelm-watermark",
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
    "speculative": "corelm-speculative",
    "stochastic_beam": "corelm-beam",
    "synthid": "corelm-watermark",
    "transformers": "corelm-transformers",
    "watermark": "corelm-watermark",
}
"""The package of each sampler, decoder, scheme of models, metric and command."""

UNKNOWN = re.compile(
    r"(?:there is no (?:sampler|decoder|sampler or decoder|model|metric)|No such command)"
    r" '([\w-]+)[':]"
)


def package_hint(message: str) -> str:
    """Return the package that offers an unknown name; empty if there is none.

    Example:
        >>> package_hint("there is no decoder 'beam' (there are: ancestral)")
        '; the package corelm-beam offers it: pip install ./plugins/corelm-beam'
    """
    found = UNKNOWN.match(message)
    package = found and PACKAGES.get(found[1])
    return f"; the package {package} offers it: pip install ./plugins/{package}" if package else ""
