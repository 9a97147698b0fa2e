"""corelm's samplers in SGLang, chosen by each request.

This module is for clients: it needs neither SGLang nor torch. `processor` runs in the server.
"""

from __future__ import annotations

import json
from typing import Any

import corelm
from corelm.errors import UsageError

SAMPLER, SEED = "sampler", "seed"
PROCESSOR = json.dumps(
    # A pickle that contains only the name of a class for the server to import.
    {"callable": b"ccorelm_sglang.processor\nSamplerProcessor\n.".hex()}
)
"""The value of `custom_logit_processor` in a request, the same for every sampler."""


def sampling_params(sampler: str | corelm.Sampler, seed: int | None = None) -> dict[str, Any]:
    """Return the `sampling_params` of a request that samples with corelm.

    Without a seed SGLang draws from the sampler's distribution; its own filters, which would change
    it, are switched off.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: corelm draws, with the random numbers of this seed; None leaves the draw to SGLang.

    Raises:
        CorelmError: no such sampler, or a seed that is not a whole number of at least 0.

    Example:
        >>> sampling_params("min_p(p=0.05)", seed=7)["custom_params"]
        {'sampler': 'min_p(p=0.05)', 'seed': 7}
    """
    params: dict[str, Any] = {SAMPLER: str(corelm.sampler(sampler))}
    if seed is not None:
        params[SEED] = checked_seed(seed)
    return {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "custom_params": params}


def checked_seed(seed: Any) -> int:
    """Return a seed.

    Raises:
        UsageError: it is not a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed must be a whole number of at least 0, not {seed!r}")
    return seed
