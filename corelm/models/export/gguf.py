"""A GGUF file for llama.cpp: the architecture gpt2 with its byte pairs, in float32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from corelm.errors import MissingDependencyError
from corelm.models.bundle import Bundle
from corelm.models.byte_pairs import BytePairVocabulary
from corelm.models.networks.base import Architecture

LAYERS = {
    "attention_norm": "attn_norm",
    "qkv": "attn_qkv",
    "attention_out": "attn_output",
    "dense_norm": "ffn_norm",
    "dense_in": "ffn_up",
    "dense_out": "ffn_down",
}
NO_MERGE = ("Ā", "ā")
"""A merge of two control characters: llama.cpp refuses a tokenizer without any."""
PARTS = {"gamma": "weight", "kernel": "weight", "beta": "bias", "bias": "bias"}


def files(model: Bundle, vocabulary: BytePairVocabulary) -> bytes:
    """Return the content of the file.

    Raises:
        MissingDependencyError: gguf is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError(
            f"writing a GGUF file needs gguf ({error}); install it with: pip install gguf"
        ) from error
    with tempfile.TemporaryDirectory() as folder:  # the library writes to a path only
        path = Path(folder) / "model.gguf"
        writer = gguf.GGUFWriter(path, "gpt2")
        _add_network(writer, model.architecture)
        _add_vocabulary(writer, vocabulary, gguf.TokenType)
        for name, weight in model.weights.items():
            # llama.cpp stores the matrix of a dense layer as (out, in).
            matrix = weight.T if name.endswith("kernel") else weight
            writer.add_tensor(_name(name), np.ascontiguousarray(matrix, "float32"))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _add_network(writer: Any, a: Architecture) -> None:
    writer.add_name("gpt2")
    writer.add_block_count(a.blocks)
    writer.add_context_length(a.context_length)
    writer.add_embedding_length(a.width)
    writer.add_feed_forward_length(a.dense)
    writer.add_head_count(a.heads)
    writer.add_layer_norm_eps(1e-5)  # GPT-2's, as the network computes it
    writer.add_file_type(0)  # float32


def _add_vocabulary(writer: Any, vocabulary: BytePairVocabulary, types: Any) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.words)
    special, [end] = len(vocabulary.special), vocabulary.ends
    ordinary = len(vocabulary) - special
    writer.add_token_types([types.CONTROL] * special + [types.NORMAL] * ordinary)
    writer.add_token_merges([f"{left} {right}" for left, right in vocabulary.merges or [NO_MERGE]])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(vocabulary.padding)
    writer.add_add_bos_token(vocabulary.start is not None)


def _name(ours: str) -> str:
    """Return llama.cpp's name for a weight.

    Example:
        >>> _name("block_0/qkv/kernel")
        'blk.0.attn_qkv.weight'
    """
    first, *middle, part = ours.split("/")
    if first == "embedding":
        return f"{'token_embd' if middle == ['token_embeddings'] else 'position_embd'}.weight"
    if first == "norm":
        return f"output_norm.{PARTS[part]}"
    return f"blk.{first.removeprefix('block_')}.{LAYERS[middle[0]]}.{PARTS[part]}"
