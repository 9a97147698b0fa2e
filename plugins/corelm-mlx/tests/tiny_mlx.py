"""A tiny random GPT-2 of mlx-lm and its tokenizer, made without a download.

The tests import everything of mlx-lm from here, so that they are skipped where it is missing.
"""

import json

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="pip install mlx")
pytest.importorskip("mlx_lm", reason="pip install mlx-lm")
pytest.importorskip("corelm_mlx", reason="pip install ./plugins/corelm-mlx")

from corelm_mlx import MlxModel, as_logits_processor, as_sampler  # noqa: E402, F401
from corelm_mlx.model import MlxCache, PaddedMlxCache  # noqa: E402, F401
from corelm_mlx.scheme import open_model  # noqa: E402, F401
from mlx.utils import tree_flatten, tree_map  # noqa: E402
from mlx_lm import batch_generate, generate, sample_utils, stream_generate  # noqa: E402, F401
from mlx_lm.generate import BatchGenerator  # noqa: E402, F401
from mlx_lm.models import gpt2, llama  # noqa: E402
from mlx_lm.tokenizer_utils import TokenizerWrapper  # noqa: E402

from corelm.interop import testing  # noqa: E402

CONTEXT = 32

SAMPLERS = [*testing.SAMPLERS, "p_less"]  # a plugin
PROMPTS = ["see the cat sit", "the", "a cat"]


def tiny_tokenizer(ends=None, **options):
    """Return a tokenizer with a few merges, as mlx-lm wraps it; `ends` are a model's end tokens."""
    return TokenizerWrapper(testing.tiny_tokenizer(**options), eos_token_ids=ends)


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
    """Replace the weights; a new model's weights depend on the time."""
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


TOKENIZER = tiny_tokenizer()
ENGINE = tiny_model(len(TOKENIZER._tokenizer))
