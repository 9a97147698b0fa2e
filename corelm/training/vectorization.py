"""Learn a vocabulary of words with Keras's TextVectorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corelm.errors import DataError, UsageError
from corelm.models.keras_import import quiet_tensorflow
from corelm.toolkit import DASH, END, MARKED, PADDING, UNKNOWN, WordVocabulary

BATCH = 1024
"""Texts that TextVectorization reads at once; bounds its memory."""


def text_vectorization(style: str, max_tokens: int, words: Sequence[str] | None = None) -> Any:
    """Return Keras's TextVectorization with the rules of a style of tokens.

    Args:
        style: a key of `corelm.word_vocabulary.STYLES`.
        max_tokens: the largest number of tokens, including padding and unknown.
        words: the vocabulary; None for a layer that is adapted later.
    """
    import keras

    with quiet_tensorflow():
        import tensorflow as tf

    def marked(text: Any) -> Any:
        text = tf.strings.regex_replace(tf.strings.lower(text), DASH, " -- ")
        return tf.strings.regex_replace(text, MARKED, r" \0 ")

    standardize = {"words": "lower_and_strip_punctuation", "words+punctuation": marked}.get(style)
    return keras.layers.TextVectorization(
        max_tokens=max_tokens,
        standardize=standardize,
        split="character" if style == "characters" else "whitespace",
        vocabulary=list(words) if words is not None else None,
    )


def learn_words(texts: Sequence[str], style: str, size: int, end: bool = True) -> WordVocabulary:
    """Learn the most frequent tokens of texts, at most `size` with the special ones.

    Raises:
        UsageError: a size that leaves no room for a token of the texts.
        DataError: texts without tokens.
    """
    if size < 3 + end:
        raise UsageError(f"a vocabulary needs room for at least {3 + end} tokens, not {size}")
    layer = text_vectorization(style, size - end)
    layer.adapt(texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
    learned = [str(word) for word in layer.get_vocabulary()[2:]]
    words = [word for word in learned if word != END]
    if not words:
        raise DataError(f"the texts hold no tokens of the style {style!r}")
    return WordVocabulary([PADDING, UNKNOWN, *([END] if end else []), *words], style)
