"""The toolkit for authors of filters, penalties and other samplers.

Functions on logits take arrays of NumPy, torch, JAX or any other library that follows the array API
standard, and return arrays of the same library. A sampler made of them and of operators is portable
in the same way. Where it needs a function of the library, `array_namespace(logits)` has it.

The functions that read single tokens, such as `token_counts`, return NumPy arrays, as the context
is; `in_library_of` takes such an array to the library of the logits.
"""

import typing

from corelm.lazy import OnFirstUse

if typing.TYPE_CHECKING:
    from corelm.numerics.arrays import (
        array_namespace,
        in_library_of,
        widen,
    )
    from corelm.numerics.distributions import (
        entropy_of_logits,
        min_and_shannon_entropy,
        min_entropy,
        subtract_max,
    )
    from corelm.numerics.filters import (
        at_least,
        falling_logits,
        first_tokens,
        logit_std,
        tail_free,
        top_h,
        top_k,
        top_p,
        typical,
        within_nats,
    )
    from corelm.numerics.ranking import likeliest_tokens, rank
    from corelm.numerics.reshaping import peak_at, quadratic, surprisal_of_probability, xtc
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
    "entropy_of_logits",
    "falling_logits",
    "find_in_turn",
    "first_tokens",
    "in_library_of",
    "likeliest_tokens",
    "logit_std",
    "min_and_shannon_entropy",
    "min_entropy",
    "peak_at",
    "quadratic",
    "rank",
    "remove_tokens",
    "subtract_max",
    "surprisal_of_probability",
    "tail_free",
    "token_counts",
    "top_h",
    "top_k",
    "top_p",
    "typical",
    "widen",
    "within_nats",
    "xtc",
]

__getattr__ = OnFirstUse(
    __name__,
    {
        "corelm.numerics.arrays": (
            "array_namespace",
            "in_library_of",
            "widen",
        ),
        "corelm.numerics.distributions": (
            "entropy_of_logits",
            "min_and_shannon_entropy",
            "min_entropy",
            "subtract_max",
        ),
        "corelm.numerics.filters": (
            "at_least",
            "falling_logits",
            "first_tokens",
            "logit_std",
            "tail_free",
            "top_h",
            "top_k",
            "top_p",
            "typical",
            "within_nats",
        ),
        "corelm.numerics.ranking": ("likeliest_tokens", "rank"),
        "corelm.numerics.reshaping": (
            "peak_at",
            "quadratic",
            "surprisal_of_probability",
            "xtc",
        ),
        "corelm.token_edits": (
            "TokenNames",
            "allow_all_but",
            "change_logits",
            "remove_tokens",
            "token_counts",
        ),
        "corelm.token_texts": ("find_in_turn",),
    },
)
"""The module of each name, imported on first use: a sampler needs few of them."""
