"""The tokens of a text as corelm's samplers see them."""

import numpy as np


def without_start(tokens, vocabulary):
    """Return the ids of a text, (time,), without the token that llama.cpp put before it.

    Args:
        tokens: (time,) ids, a NumPy array or an `array.array`.
        vocabulary: knows that token; None keeps all tokens.
    """
    ids = np.array(tokens, dtype=np.int64)
    start = None if vocabulary is None else vocabulary.start
    return ids[1:] if len(ids) and ids[0] == start else ids
