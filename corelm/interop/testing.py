"""Tools to test an engine's adapter: a tokenizer, a tiny GPT-2, samplers, tests of draws."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corelm.models.bundle import Bundle
from corelm.models.byte_pairs import BytePairVocabulary
from corelm.models.contents import shapes
from corelm.models.networks.base import Architecture
from corelm.questions.exact import sampling_distribution
from corelm.registry.expressions import sampler
from corelm.testing import g_test
from corelm.testing.draw_checks import check_draws_ahead

GPT2_MERGES = (
    "Ġ t|h e|Ġt he|i n|in g|Ġ a|o r|e r|Ġ s|Ġ m|o v|i e|Ġm ov|Ġmov ie|Ġ w|o o|oo d|Ġ g|Ġg ood|n d|"
    "Ġa nd|i s|Ġ is|Ġ f|i l|il m|Ġf ilm|T h|Th is|Ġ b|a d|Ġb ad|a s|Ġw as|Ġ Ġ|Ã ©|e n|Ġ in"
)
__all__ = [
    "SAMPLERS",
    "check_draws",
    "check_draws_ahead",
    "tiny_gpt2",
    "tiny_tokenizer",
]


def tiny_gpt2(folder: str | os.PathLike[str], *, seed: int = 0, context_length: int = 64) -> Path:
    """Write a model with random weights and GPT-2's architecture, in a tenth of a second.

    Other engines can run it: `corelm models export FOLDER --to gguf tiny.gguf`.

    Args:
        folder: the folder to write; an earlier model in it is replaced.
        seed: decides the weights.
        context_length: the largest number of tokens that the network sees.

    Returns:
        The folder, for `corelm.load`.

    Example:
        >>> import corelm, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = corelm.load(tiny_gpt2(f"{folder}/tiny"))
        >>> model.vocabulary.encode("This movie"), model.context_length
        ([286, 271], 64)
    """
    parts = [line.split(" ") for line in GPT2_MERGES.split("|")]
    vocabulary = BytePairVocabulary((left, right) for left, right in parts)
    a = Architecture(
        "gpt2", len(vocabulary), context_length, width=32, dense=128, heads=2, blocks=2
    )
    rng = np.random.default_rng(seed)
    # Gammas around 1 and large weights, so that a mistake in any layer shows in the logits.
    weights = {
        name: (name.endswith("gamma") + 0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes(a).items()
    }
    Bundle.write(folder, a, vocabulary, weights, training={"seed": seed}, figures={})
    return Path(folder)


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
    "xtc(probability=0.5, threshold=0.05) | temperature(t=0.7)",
    "no_repeat_ngram(n=2)",
    "frequency_penalty(penalty=0.5) | min_p(p=0.01) | top_k(k=50) | temperature(t=1.2)",
)
"""A sampler of every kind, and a chain: an adapter that runs these runs every sampler."""

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
    make: Any = PreTrainedTokenizerFast  # transformers has no types
    return make(tokenizer_object=backend, padding_side="left", **special | options)


K, T = 40, 0.8
CHANCE = 1e-6
"""The p-value below which chance does not explain the counts."""


def check_draws(
    draw: Callable[[NDArray[np.float32], str], Iterable[int]], *, vocabulary: int = 60
) -> None:
    """Raise an AssertionError if an adapter does not draw from its sampler's distribution.

    The tokens are counted, and compared with the exact distribution by a likelihood-ratio test. The
    counts must also rule out a temperature that is 5 % off, and one token more or less; 20,000
    draws are enough.

    Args:
        draw: a function that takes the logits of every draw, (vocabulary,), and an expression; it
            returns the tokens that the engine drew with that sampler.
        vocabulary: the number of tokens, at least 60.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> def draw(logits, sampler):
        ...     coins = ToyModel([f"w{i}" for i in range(58)], logits, end=False)
        ...     [text] = corelm.generate(coins, "", sampler=sampler, length=20_000, seed=1)
        ...     return text.tokens
        >>> check_draws(draw)
    """
    logits = np.linspace(-0.9, 0, vocabulary, dtype=np.float32)
    # One likely token and many unlikely ones: most sensitive to a wrong temperature.
    logits[5] = 2.5

    def exact(k: int, t: float) -> dict[tuple[int, ...], float]:
        p = sampling_distribution(sampler(_chain(k, t)), logits)
        return {(token,): float(p[token]) for token in np.flatnonzero(p).tolist()}

    counts: Counter[tuple[int, ...]] = Counter(
        (int(token),) for token in draw(logits, _chain(K, T))
    )
    p_value = g_test(counts, exact(K, T))
    assert p_value > CHANCE, f"the draws have another distribution (p = {p_value:.0e})"
    # The power of the test: too few draws would fit any distribution.
    for k, t in ((K - 1, T), (K + 1, T), (K, 0.95 * T), (K, 1.05 * T)):
        p_value = g_test(counts, exact(k, t))
        reason = f"{counts.total()} draws are too few: they fit {_chain(k, t)} too"
        assert p_value < CHANCE, f"{reason} (p = {p_value:.0e})"


def _chain(k: int, t: float) -> str:
    return f"top_k(k={k}) | temperature(t={t})"
