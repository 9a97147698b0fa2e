"""GGUF files of tiny random models, of architectures whose networks llama.cpp does not round.

A network with GELU is none of them: llama.cpp looks it up in a table of half precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, BLOCKS, CONTEXT = 32, 2, 2, 48
MERGES = ["Ġ t", "h e", "Ġt he", "Ġ c", "a t", "Ġc at"]
ENDS = ["<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|return|>"]
"""Tokens at which llama.cpp ends a text, by their names."""

MODELS = {
    "llama": "bytes",
    "qwen2": "bytes",
    "qwen3": "bytes with a start",
    "olmo2": "pieces",
    "smollm3": "pieces",
}
"""The tokenizer of each architecture."""


def write(path: Path, name: str) -> Path:
    """Write the file of an architecture and return its path."""
    file = gguf.GGUFWriter(path, name)
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(BLOCKS)
    file.add_feed_forward_length(4 * WIDTH)
    file.add_head_count(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    size = _add_pieces(file) if MODELS[name] == "pieces" else _add_bytes(file, MODELS[name])
    rng = np.random.default_rng(0)
    for tensor, shape in _shapes(name, size):
        center, spread = (1, 0.1) if "norm" in tensor else (0, shape[-1] ** -0.5)
        array = center + spread * rng.standard_normal(shape)
        if tensor == "output.weight":
            array *= 4  # some tokens are far likelier
            array[-len(ENDS) :] *= 1.5  # or few texts would end
        elif tensor == "token_embd.weight":
            array *= 5
        file.add_tensor(tensor, array.astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def _add_tokens(file: gguf.GGUFWriter, tokens: list[str], types: list[int], start: bool) -> int:
    control = gguf.TokenType.CONTROL
    file.add_token_list([*tokens, *ENDS])
    file.add_token_types([*types, *(control for _ in ENDS)])
    file.add_bos_token_id(len(tokens))
    file.add_eos_token_id(len(tokens))
    file.add_add_bos_token(start)
    return len(tokens) + len(ENDS)


def _add_bytes(file: gguf.GGUFWriter, kind: str) -> int:
    """Add a tokenizer of byte pairs and return its size."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    letters = [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
    tokens = [*letters, *(merge.replace(" ", "") for merge in MERGES)]
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_merges(MERGES)
    return _add_tokens(file, tokens, [gguf.TokenType.NORMAL] * len(tokens), "start" in kind)


def _add_pieces(file: gguf.GGUFWriter) -> int:
    """Add a tokenizer of SentencePiece, with a start token, and return its size."""
    kinds = gguf.TokenType
    pieces = [*"▁abcdefghijklmnopqrstuvwxyz", "▁t", "he", "▁the", "▁c", "at", "▁cat"]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [kinds.UNKNOWN, *[kinds.BYTE] * 256, *[kinds.NORMAL] * len(pieces)]
    file.add_tokenizer_model("llama")
    file.add_tokenizer_pre("default")
    file.add_token_scores([float(len(token)) for token in [*tokens, *ENDS]])
    file.add_unk_token_id(0)
    return _add_tokens(file, tokens, types, start=True)


def _shapes(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and the shape of each weight."""
    yield "token_embd.weight", (size, WIDTH)
    yield "output.weight", (size, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    before, after = ("attn_norm", "ffn_norm"), ("post_attention_norm", "post_ffw_norm")
    for i in range(BLOCKS):
        for norm in after if name == "olmo2" else before:
            yield f"blk.{i}.{norm}.weight", (WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{i}.{part}.weight", (WIDTH, WIDTH)
            if name == "qwen2" and part != "attn_output":
                yield f"blk.{i}.{part}.bias", (WIDTH,)
        for part in ("ffn_gate", "ffn_up"):
            yield f"blk.{i}.{part}.weight", (4 * WIDTH, WIDTH)
        yield f"blk.{i}.ffn_down.weight", (WIDTH, 4 * WIDTH)
        width = {"qwen3": WIDTH // HEADS, "olmo2": WIDTH}.get(name)
        for part in ("attn_q_norm", "attn_k_norm") if width else ():
            yield f"blk.{i}.{part}.weight", (width or 0,)
