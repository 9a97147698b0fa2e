"""A tiny random GPT-2 of mlx-lm and its tokenizer, made without a download.

The tests import everything of mlx-lm from here, so that they are skipped where it is missing.
"""

import json

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed")
pytest.importorskip("corelm_mlx", reason="corelm-mlx is not installed")
pytest.importorskip("corelm_transformers", reason="corelm-transformers is not installed")
transformers = pytest.importorskip("transformers")

from corelm_mlx import MlxModel, as_logits_processor, as_sampler  # noqa: E402, F401
from corelm_mlx.scheme import open_model  # noqa: E402, F401
from mlx.utils import tree_flatten, tree_map  # noqa: E402
from mlx_lm import batch_generate, generate, sample_utils, stream_generate  # noqa: E402, F401
from mlx_lm.generate import BatchGenerator  # noqa: E402, F401
from mlx_lm.models import gpt2, llama  # noqa: E402
from mlx_lm.tokenizer_utils import TokenizerWrapper  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402

END = "<|endoftext|>"
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "c"), ("a", "t"), ("Ġc", "at"), ("Ġ", "s")]
CONTEXT = 32

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

PROMPTS = ["see the cat sit", "the", "a cat"]


def byte_tokenizer(start=False):
    """Return a byte-level tokenizer with a few merges, as mlx-lm wraps it."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in MERGES]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, END])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if start:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, vocabulary[END])]
        )
    return TokenizerWrapper(
        transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END)
    )


def sizes(vocab_size, context_length):
    return {
        "model_type": "gpt2",
        "n_ctx": context_length,
        "n_positions": context_length,
        "n_embd": 16,
        "n_head": 2,
        "n_layer": 2,
        "layer_norm_epsilon": 1e-5,
        "vocab_size": vocab_size,
    }


def tiny_model(vocab_size, context_length=CONTEXT, seed=0):
    """Return a GPT-2 with large random weights, so that its distributions differ."""
    return _random(gpt2.Model(gpt2.ModelArgs.from_dict(sizes(vocab_size, context_length))), seed)


def tiny_llama(vocab_size, window):
    """Return a model that attends to a window of tokens, whose cache rotates."""
    args = llama.ModelArgs(
        model_type="llama",
        hidden_size=16,
        num_hidden_layers=2,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=1,
        rms_norm_eps=1e-5,
        vocab_size=vocab_size,
        max_position_embeddings=256,
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=window,
    )
    return _random(llama.Model(args), 1)


def _random(model, seed):
    """Replace the weights; those of a new model depend on the time."""
    numbers = np.random.default_rng(seed)

    def weights(array):
        center = 0 if array.ndim > 1 else 0.5
        return mx.array((center + 0.4 * numbers.normal(size=array.shape)).astype(np.float32))

    model.update(tree_map(weights, model.parameters()))
    return model


def save(model, tokenizer, folder):
    """Write a model in mlx-lm's format."""
    folder.mkdir()
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        dict(tree_flatten(model.parameters())),
        metadata={"format": "mlx"},
    )
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = vars(model.args) | ends
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


TOKENIZER = byte_tokenizer()
ENGINE = tiny_model(len(TOKENIZER._tokenizer))
