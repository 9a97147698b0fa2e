"""The parameters of a request, in `SamplingParams.extra_args`."""

from dataclasses import dataclass

import corelm
from corelm.errors import UsageError

SAMPLER, SEED = "corelm", "corelm_seed"
NEUTRAL = {"temperature": (1,), "top_p": (1,), "top_k": (0, -1), "min_p": (0,)}
"""The values at which vLLM's later stages leave a distribution as it is."""


@dataclass(frozen=True)
class Settings:
    """The settings of a request.

    Attributes:
        sampler: the request's.
        seed: of corelm's draw; None leaves the draw to vLLM.
        ends: the ids at which vLLM ends the text; None if the request has none.
    """

    sampler: corelm.Sampler
    seed: int | None
    ends: frozenset | None


def read_settings(params):
    """Return the settings of a request, or None if it does not ask for corelm.

    Args:
        params: vLLM's `SamplingParams`.

    Raises:
        UsageError: a ValueError whose message is one line: an expression that cannot be read, a
            seed that is not a whole number of at least 0, another argument that begins with
            `corelm`, or a stage of vLLM that would change the distribution.
    """
    given = {k: v for k, v in (params.extra_args or {}).items() if k.startswith(SAMPLER)}
    if not given:
        return None
    for name in given.keys() - {SAMPLER, SEED}:
        raise UsageError(f"there is no argument {name!r}; there are {SAMPLER!r} and {SEED!r}")
    expression, seed = given.get(SAMPLER), given.get(SEED)
    if not isinstance(expression, str):
        raise UsageError(f"{SAMPLER!r} must be a sampler expression, not {expression!r}")
    sampler = corelm.sampler(expression)
    if seed is None:
        _check_later_stages(params)
    else:
        corelm.RandomStream(seed, [0])  # checks the seed
    return Settings(sampler, seed, _ends(params))


def _ends(params):
    """Return the ids that end a text, which vLLM collects in each request.

    They come from the tokenizer, `generation_config.json` and the request.
    """
    if params.ignore_eos:
        return frozenset(params.stop_token_ids or ())
    return frozenset(params.all_stop_token_ids) or None


def _check_later_stages(params):
    for name, neutral in NEUTRAL.items():
        value = getattr(params, name)
        if value not in neutral:
            raise UsageError(
                f"{name}={value} would change corelm's distribution: set {name}={neutral[0]}, or "
                f"give {SEED!r}, with which corelm draws the token itself"
            )
