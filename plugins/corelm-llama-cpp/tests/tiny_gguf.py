"""A tiny Llama with random weights in a GGUF file, for the tests.

Not a GPT-2: llama.cpp looks up its GELU in a table of half precision, so a difference in the last
bit, as between one token at a time and several, can grow to 1e-3.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, BLOCKS, CONTEXT = 32, 2, 2, 48
MERGES = ["Ġ t", "h e", "Ġt he", "Ġ m", "o v", "i e", "Ġm ov", "Ġmov ie", "T h", "i s", "Th is"]
END, OTHER_END = "<|endoftext|>", "<|im_end|>"


def byte_characters() -> list[str]:
    """Return the character that stands for each byte in GPT-2's tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def words() -> list[str]:
    """Return the tokens: the bytes, the merges, and two that end a text."""
    return [*byte_characters(), *(merge.replace(" ", "") for merge in MERGES), END, OTHER_END]


def write(path: Path, *, start: bool = False, seed: int = 0, template: str = "") -> Path:
    """Write the file and return its path.

    Args:
        path: the file.
        start: let the tokenizer put the end of a text before every text.
        seed: decides the weights.
        template: the chat template; empty for none.
    """
    file = gguf.GGUFWriter(path, "llama")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(BLOCKS)
    file.add_feed_forward_length(4 * WIDTH)
    file.add_head_count(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(file, start)
    if template:
        file.add_chat_template(template)
    for name, array in _tensors(np.random.default_rng(seed), len(words())):
        file.add_tensor(name, array.astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


def _add_tokenizer(file: gguf.GGUFWriter, start: bool) -> None:
    tokens = words()
    types = [gguf.TokenType.NORMAL] * (len(tokens) - 2) + [gguf.TokenType.CONTROL] * 2
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(tokens)
    file.add_token_types(types)
    file.add_token_merges(MERGES)
    file.add_bos_token_id(tokens.index(END))
    file.add_eos_token_id(tokens.index(END))
    file.add_eot_token_id(tokens.index(OTHER_END))
    file.add_add_bos_token(start)


def _tensors(rng: np.random.Generator, size: int):
    """Yield the weights, outputs first; they are large, so that some tokens are far likelier."""

    def weight(*shape: int, spread: float) -> np.ndarray:
        return spread * rng.standard_normal(shape)

    yield "token_embd.weight", weight(size, WIDTH, spread=1.0)
    yield "output.weight", weight(size, WIDTH, spread=0.6)
    for i in range(BLOCKS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{i}.{name}.weight", 1 + weight(WIDTH, spread=0.1)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{i}.{name}.weight", weight(WIDTH, WIDTH, spread=WIDTH**-0.5)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{i}.{name}.weight", weight(4 * WIDTH, WIDTH, spread=WIDTH**-0.5)
        yield f"blk.{i}.ffn_down.weight", weight(WIDTH, 4 * WIDTH, spread=(4 * WIDTH) ** -0.5)
    yield "output_norm.weight", 1 + weight(WIDTH, spread=0.1)
