"""Learn a vocabulary from texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from corelm.bundles import BytePairVocabulary, StoredVocabulary, WordVocabulary
from corelm.errors import DataError, MissingDependencyError, UsageError
from corelm.interop import quiet_tensorflow

BATCH = 1024
"""The number of texts that TextVectorization reads at once, which bounds its memory."""


def text_vectorization(style: str, max_tokens: int, words: Sequence[str] | None = None) -> Any:
    """Return Keras's TextVectorization with the rules of a style of tokens.

    Args:
        style: a key of `corelm.models.word_vocabulary.STYLES`.
        max_tokens: the largest number of tokens, including padding and unknown.
        words: the vocabulary; None for a layer that is adapted later.
    """
    import keras

    with quiet_tensorflow():
        import tensorflow as tf

    def marked(text: Any) -> Any:
        text = tf.strings.lower(text)
        for pattern, spaced in WordVocabulary.spaced:
            text = tf.strings.regex_replace(text, pattern, spaced)
        return text

    standardize = {"words": "lower_and_strip_punctuation", "words+punctuation": marked}.get(style)
    return keras.layers.TextVectorization(
        max_tokens=max_tokens,
        standardize=standardize,
        split="character" if style == "characters" else "whitespace",
        vocabulary=list(words) if words is not None else None,
    )


def learn_words(texts: Sequence[str], style: str, size: int, end: bool = True) -> WordVocabulary:
    """Learn a vocabulary of the texts' most frequent tokens, at most `size` with special tokens.

    Raises:
        UsageError: a size that leaves no room for a token of the texts.
        DataError: texts without tokens.
    """
    if size < 3 + end:
        raise UsageError(f"a vocabulary needs room for at least {3 + end} tokens, not {size}")
    layer = text_vectorization(style, size - end)
    layer.adapt(texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
    learned = [str(word) for word in layer.get_vocabulary()[2:]]
    words = [word for word in learned if word != WordVocabulary.END]
    if not words:
        raise DataError(f"the texts hold no tokens of the style {style!r}")
    return WordVocabulary(
        [*WordVocabulary.reserved, *([WordVocabulary.END] if end else []), *words],
        style,
    )


def learn_vocabulary(
    texts: Sequence[str], style: str, size: int, end: bool = True
) -> StoredVocabulary:
    """Learn a vocabulary of at most `size` tokens, with the special ones.

    Args:
        texts: the texts to learn from.
        style: a key of `Bundle.TOKENS`.
        size: the largest number of tokens.
        end: add an end token to a vocabulary of words; byte pairs always have one.

    Raises:
        UsageError: a size that leaves no room for a token of the texts.
        DataError: texts without tokens.
        MissingDependencyError: a package that learns this vocabulary is not installed.
    """
    if style == BytePairVocabulary.style:
        return learn_byte_pairs(texts, size)
    return learn_words(texts, style, size, end)


def learn_byte_pairs(texts: Sequence[str], size: int) -> BytePairVocabulary:
    """Learn byte-pair merges until the vocabulary has `size` tokens.

    Raises:
        UsageError: a size without room for a merge.
        DataError: texts in which no pair of bytes appears twice.
        MissingDependencyError: tokenizers is not installed.
    """
    before_merges = len(BytePairVocabulary(()))
    if size <= before_merges:
        raise UsageError(
            f"a vocabulary of {BytePairVocabulary.style} needs room for at least "
            f"{before_merges + 1} tokens, not {size}"
        )
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingDependencyError(
            f"learning {BytePairVocabulary.style} needs tokenizers ({error}); "
            'install it with: pip install "corelm[train]"'
        ) from error
    alphabet = BytePairVocabulary.alphabet
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + size - before_merges,
        initial_alphabet=list(alphabet),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    merges = [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
    if not merges:
        raise DataError("the texts are too short: no two letters in them appear together twice")
    # Two merges may make the same token, such as a+bc and ab+c; keep only the first.
    first = {left + right: (left, right) for left, right in reversed(merges)}
    return BytePairVocabulary(list(first.values())[::-1])
