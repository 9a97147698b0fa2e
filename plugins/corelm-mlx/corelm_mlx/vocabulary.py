"""The tokenizer of mlx-lm as a vocabulary."""

from corelm.interop import vocabulary_of


def vocabulary_from(tokenizer, ends=None, size=None):
    """Return the tokenizer of a model of mlx-lm as a vocabulary.

    Args:
        tokenizer: the model's, such as `mlx_lm.load` returns.
        ends: the ids at which mlx-lm ends a text; None for `tokenizer.eos_token_ids`, which mlx-lm
            reads from the model's configuration.
        size: the number of ids; None for the tokenizer's.
    """
    if ends is None:
        ends = getattr(tokenizer, "eos_token_ids", None)
    return vocabulary_of(tokenizer, size, None if ends is None else sorted(ends))
