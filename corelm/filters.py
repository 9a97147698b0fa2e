"""The toolkit for authors of filters, penalties and other samplers.

Functions on logits take arrays of NumPy, torch, JAX or any other library that follows the array API
standard, and return arrays of the same library. A sampler made of them and of operators is portable
in the same way. Where it needs a function of the library, `array_namespace(logits)` has it.

The functions that read single tokens, such as `token_counts`, return NumPy arrays, as the context
is; `in_library_of` takes such an array to the library of the logits.
"""

import typing

from corelm.lazy import on_first_use

if typing.TYPE_CHECKING:
    from corelm.native.backend import compiled
    from corelm.numerics.arrays import (
        array_namespace,
        in_library_of,
        widen,
    )
    from corelm.numerics.distributions import (
        min_and_shannon_entropy,
        min_entropy,
        subtract_max,
    )
    from corelm.numerics.filters import (
        at_least,
        falling_logits,
        first_tokens,
        likeliest_tokens,
        surprisal_of_probability,
        top_k,
        within_nats,
    )
    from corelm.token_edits import (
        TokenNames,
        allow_all_but,
        change_logits,
        remove_tokens,
        token_counts,
    )
    from corelm.token_texts import find_in_turn

__all__ = [
    "TokenNames",
    "allow_all_but",
    "array_namespace",
    "at_least",
    "change_logits",
    "compiled",
    "falling_logits",
    "find_in_turn",
    "first_tokens",
    "in_library_of",
    "likeliest_tokens",
    "min_and_shannon_entropy",
    "min_entropy",
    "remove_tokens",
    "subtract_max",
    "surprisal_of_probability",
    "token_counts",
    "top_k",
    "widen",
    "within_nats",
]

_HOMES = {
    "TokenNames": "corelm.token_edits:TokenNames",
    "allow_all_but": "corelm.token_edits:allow_all_but",
    "array_namespace": "corelm.numerics.arrays:array_namespace",
    "at_least": "corelm.numerics.filters:at_least",
    "change_logits": "corelm.token_edits:change_logits",
    "compiled": "corelm.native.backend:compiled",
    "falling_logits": "corelm.numerics.filters:falling_logits",
    "find_in_turn": "corelm.token_texts:find_in_turn",
    "first_tokens": "corelm.numerics.filters:first_tokens",
    "in_library_of": "corelm.numerics.arrays:in_library_of",
    "likeliest_tokens": "corelm.numerics.filters:likeliest_tokens",
    "min_and_shannon_entropy": "corelm.numerics.distributions:min_and_shannon_entropy",
    "min_entropy": "corelm.numerics.distributions:min_entropy",
    "remove_tokens": "corelm.token_edits:remove_tokens",
    "subtract_max": "corelm.numerics.distributions:subtract_max",
    "surprisal_of_probability": "corelm.numerics.filters:surprisal_of_probability",
    "token_counts": "corelm.token_edits:token_counts",
    "top_k": "corelm.numerics.filters:top_k",
    "widen": "corelm.numerics.arrays:widen",
    "within_nats": "corelm.numerics.filters:within_nats",
}
"""The module of each name, imported on first use: a sampler needs few of them."""

__getattr__ = on_first_use(__name__, _HOMES)
