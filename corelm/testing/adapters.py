"""A tokenizer and samplers for tests of other engines' adapters."""

from __future__ import annotations

from typing import Any

SAMPLERS = (
    "temperature(t=0.8)",
    "top_p(p=0.9)",
    "min_p(p=0.02)",
    "typical(p=0.9)",
    "top_k(k=5)",
    "repetition_penalty(penalty=1.5)",
    "dry(multiplier=1.0, allowed_length=1)",
    "mirostat(tau=3.0)",
    "xtc(probability=0.5)",
    "no_repeat_ngram(n=2)",
    "frequency_penalty(penalty=0.5) | min_p(p=0.01) | top_k(k=50) | temperature(t=1.2)",
)
"""A sampler of every kind, and a chain: an adapter that runs them runs all."""

END = "<|endoftext|>"
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "c"), ("a", "t"), ("Ġc", "at"), ("Ġ", "s")]


def tiny_tokenizer(*, start: bool = False, **options: Any) -> Any:
    """Return a byte-level tokenizer of transformers with a few merges, without a download.

    It needs the packages `tokenizers` and `transformers`.

    Args:
        start: put the token `<|endoftext|>` before every text.
        options: further arguments of `PreTrainedTokenizerFast`, such as special tokens.

    Example:
        >>> tokenizer = tiny_tokenizer()
        >>> tokenizer.tokenize("the cat")
        ['the', 'Ġcat']
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in MERGES]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, END])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if start:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, vocabulary[END])]
        )
    special = {"bos_token": END, "eos_token": END, "pad_token": END}
    make: Any = PreTrainedTokenizerFast  # which has no types
    return make(tokenizer_object=backend, padding_side="left", **special | options)
