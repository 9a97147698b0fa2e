"""The packages of corelm's repository that offer samplers and decoders of their own."""

from __future__ import annotations

import re

PACKAGES = {
    "beam": "corelm-beam",
    "best_of": "corelm-best-of",
    "contrastive": "corelm-contrastive",
    "min_k": "corelm-min-k",
    "p_less": "corelm-p-less",
    "speculative": "corelm-speculative",
}
"""The package of each sampler and decoder."""

UNKNOWN = re.compile(r"there is no (?:sampler|decoder) '(\w+)'")


def package_hint(message: str) -> str:
    """Return the package to install for an unknown sampler or decoder; empty if there is none.

    Example:
        >>> package_hint("there is no decoder 'beam' (there are: ancestral)")
        '; the package corelm-beam offers it: pip install ./plugins/corelm-beam'
    """
    found = UNKNOWN.match(message)
    package = found and PACKAGES.get(found[1])
    return f"; the package {package} offers it: pip install ./plugins/{package}" if package else ""
