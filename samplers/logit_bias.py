"""Add to the logits of chosen tokens."""

from __future__ import annotations

import math

from corelm import Context, ParameterError, Sampler, hookimpl, param
from corelm.filters import KernelSampler, TokenNames, remove_tokens, token_change


class LogitBias(KernelSampler):
    """Add chosen numbers to the logits of chosen tokens, in every context.

    Minus infinity makes a token impossible; if that leaves no token, the most likely one stays. An
    impossible token stays impossible. A text names every token that contains it as a whole word,
    such as `not` and ` not`, of which there must be one; a number is an id. To keep out a word that
    may be written in pieces, use `ban`.

    Source: OpenAI, API reference, `logit_bias` (from -100 to 100 there).

    Related: ban.

    Example:
        >>> import corelm
        >>> biased = corelm.sampling_distribution(LogitBias(bias={0: 1.0}), [0.0, 0.0])
        >>> biased.round(4).tolist()
        [0.7311, 0.2689]
    """

    kind = "penalty"
    neutral = {"bias": {}}
    reads = frozenset({"vocabulary"})

    bias: dict[int | str, float] = param({}, "numbers to add, by word or id")

    def __post_init__(self) -> None:
        super().__post_init__()
        for token, bias in self.bias.items():
            is_token = isinstance(token, (int, str)) and not isinstance(token, bool) and token != ""
            is_number = isinstance(bias, (int, float)) and not isinstance(bias, bool)
            if not (is_token and is_number and bias < math.inf):
                raise ParameterError(
                    "bias must map token ids or words to numbers or -inf, "
                    f"not {token!r} to {bias!r}"
                )

    def kernels(self, context: Context, size: int) -> list[tuple[object, ...]]:
        # Summed by id: a word and an id may name the same token.
        biases: dict[int, float] = {}
        names = TokenNames(context.vocabulary, size)
        for token, bias in self.bias.items():
            for id in names.alone(token):
                biases[id] = biases.get(id, 0.0) + bias
        if not any(biases.values()):
            return []
        # Adding minus infinity could leave a row without tokens; removing keeps the likeliest.
        added = {id: bias for id, bias in biases.items() if bias > -math.inf}
        change = token_change(None, [*added], subtract=[-bias for bias in added.values()])
        if len(added) == len(biases):
            return [change]
        removed = [id for id in biases if id not in added]
        return [change, (remove_tokens, None, removed)]


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"logit_bias": LogitBias}
