"""Tiny random models and tokenizers of transformers, made without a download."""

import pytest

transformers = pytest.importorskip("transformers", minversion="5.18")
torch = pytest.importorskip("torch")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402

torch.set_num_threads(1)  # the models are tiny

END = "<|endoftext|>"
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "c"), ("a", "t"), ("Ġc", "at"), ("Ġ", "s")]


def byte_tokenizer(start=False, **options):
    """Return a byte-level tokenizer with a few merges, padding on the left."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in MERGES]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, END])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if start:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, vocabulary[END])]
        )
    special = {"bos_token": END, "eos_token": END, "pad_token": END} | options
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, padding_side="left", **special
    )


def tiny_model(tokenizer, seed=0, **options):
    """Return a GPT-2 with large random weights, so that its distributions differ."""
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(config).eval()


TOKENIZER = byte_tokenizer()
ENGINE = tiny_model(TOKENIZER)
PROMPTS = ["see the cat sit", "the", "a cat"]

SAMPLERS = [
    "temperature(t=0.8)",
    "top_p(p=0.9)",
    "min_p(p=0.02)",
    "typical(p=0.9)",
    "top_k(k=20)",
    "repetition_penalty(penalty=1.5)",
    "dry(multiplier=1.0, allowed_length=1)",
    "mirostat(tau=3.0)",
    "xtc(probability=0.5)",
    "no_repeat_ngram(n=2)",
    "p_less",
    "frequency_penalty(penalty=0.5) | min_p(p=0.01) | top_k(k=50) | temperature(t=1.2)",
]
"""Samplers of every kind; p_less is a plugin."""


def encoded(prompts):
    """Return prompts as tensors, padded on the left."""
    return TOKENIZER(prompts, return_tensors="pt", padding=True)
