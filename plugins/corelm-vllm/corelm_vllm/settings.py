"""The parameters of a request, in `SamplingParams.extra_args`."""

from dataclasses import dataclass

import corelm
from corelm.errors import UsageError

SAMPLER, SEED, RECORD = "corelm", "corelm_seed", "corelm_record"
NUMBERED = "corelm_numbered"
"""corelm's mark for requests in which vLLM's seed is the index of the sample."""
LONGEST_NAME = 200
PENALTIES = {"repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""Settings that model runner V1 applies after corelm and V2 before it, and their neutral values."""
NEUTRAL = {"temperature": (1,), "top_p": (1,), "top_k": (0, -1), "min_p": (0,)}
"""The values at which vLLM's later stages leave a distribution as it is."""


@dataclass(frozen=True)
class Settings:
    """The settings of a request.

    Attributes:
        sampler: the sampler of the request.
        seed: the seed of corelm's draw; None leaves the draw to vLLM.
        sample: the index of the text in a run with the seed, as in `corelm.generate`.
        ends: the ids at which vLLM ends the text; None if the request has none.
        wanted: the ids that `logit_bias` and `allowed_token_ids` name.
        record: the name under which its tokens are recorded; None for no record.
    """

    sampler: corelm.Sampler
    seed: int | None
    sample: int
    ends: frozenset | None
    wanted: frozenset
    record: str | None = None


def read_settings(params):
    """Return the settings of a request, or None if it does not ask for corelm.

    Args:
        params: vLLM's `SamplingParams`.

    Raises:
        UsageError: a ValueError whose message is one line: an expression that cannot be read, a
            seed that is not a whole number of at least 0, a record without a seed, another
            argument that begins with `corelm`, a penalty of vLLM, or a stage of vLLM that would
            change the distribution.
    """
    extra = {k: v for k, v in (params.extra_args or {}).items() if k.startswith(SAMPLER)}
    if not extra:
        return None
    for name in extra.keys() - {SAMPLER, SEED, RECORD, NUMBERED}:
        names = f"{SAMPLER!r}, {SEED!r} and {RECORD!r}"
        raise UsageError(f"there is no argument {name!r}; there are {names}")
    expression, seed, record = extra.get(SAMPLER), extra.get(SEED), extra.get(RECORD)
    if not isinstance(expression, str):
        raise UsageError(f"{SAMPLER!r} must be a sampler expression, not {expression!r}")
    sampler = corelm.sampler(expression)
    _check_penalties(params)
    _check_record(record, seed)
    if seed is None:
        _check_later_stages(params)
    else:
        corelm.RandomStream(seed, [0])  # raises for an invalid seed
    wanted = frozenset({*(params.logit_bias or ()), *(params.allowed_token_ids or ())})
    sample = (params.seed or 0) if extra.get(NUMBERED) else 0
    return Settings(sampler, seed, sample, _ends(params), wanted, record)


def number_samples(params):
    """Number the samples of a request with `n` above 1 as 0, 1, ..., as in corelm.

    vLLM splits it into `n` requests that differ only in vLLM's seed, which it increases by 1.
    corelm draws without that seed, so it can carry the index.

    Args:
        params: vLLM's `SamplingParams`, whose fields are set.
    """
    extra = {k: v for k, v in (params.extra_args or {}).items() if k != NUMBERED}
    if params.n > 1 and extra.get(SEED) is not None:
        params.seed, extra[NUMBERED] = 0, True
    params.extra_args = extra or None


def _ends(params):
    """Return the ids that end a text, which vLLM collects in each request.

    They come from the tokenizer, `generation_config.json` and the request.
    """
    if params.ignore_eos:
        return frozenset(params.stop_token_ids or ())
    return frozenset(params.all_stop_token_ids) or None


def _check_record(record, seed):
    if record is None:
        return
    if not isinstance(record, str) or not 0 < len(record) <= LONGEST_NAME:
        raise UsageError(
            f"{RECORD!r} must be a name of 1 to {LONGEST_NAME} characters, not {record!r}"
        )
    if seed is None:
        raise UsageError(f"{RECORD!r} needs {SEED!r}: without it vLLM draws, unseen by corelm")


def _check_penalties(params):
    for name, neutral in PENALTIES.items():
        value = getattr(params, name)
        if value != neutral:
            raise UsageError(
                f"vLLM's {name}={value} may act after corelm: set {name}={neutral}, and put "
                f"{name}(penalty={value}) into the chain"
            )


def _check_later_stages(params):
    for name, neutral in NEUTRAL.items():
        value = getattr(params, name)
        if value not in neutral:
            raise UsageError(
                f"{name}={value} would change corelm's distribution: set {name}={neutral[0]}, or "
                f"give {SEED!r}, with which corelm draws the token itself"
            )
