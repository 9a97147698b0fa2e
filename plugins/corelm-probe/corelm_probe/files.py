"""Write the models: folders for transformers, vLLM, MLX and KerasHub, files for llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from corelm.errors import MissingDependencyError, UsageError
from corelm_probe.models import CONTEXT_LENGTH, END, EPSILON, MODELS, WIDTH, WORDS, ProbeModel

HEADS, DENSE = 1, 4 * WIDTH
"""One head of size 64, the smallest size that vLLM's attention supports on a CPU."""
NO_MERGE = "Ā ā"
"""A merge for llama.cpp, which refuses a tokenizer without any: of two bytes that no prompt has."""

Weights = dict[str, NDArray[np.float32]]


def write_models(
    folder: str | Path, names: Sequence[str] = (), *, gguf: bool | None = None
) -> list[Path]:
    """Write models: for each NAME a folder NAME for transformers, and a file NAME.gguf.

    Args:
        folder: the folder, which is created if necessary.
        names: the models; by default all of `MODELS`.
        gguf: write GGUF files, which needs the package gguf; None writes them if it is installed.

    Returns:
        The folders and files, in the order of the names.

    Raises:
        UsageError: something of that name exists.
        MissingDependencyError: gguf is True, and the package is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path] = write_models(folder, ["flat"], gguf=False)
        ...     print(path.name, sorted(file.name for file in path.iterdir())[:2])
        flat ['config.json', 'generation_config.json']
    """
    library = None if gguf is False else _gguf(required=gguf is True)
    written: list[Path] = []
    for model in [MODELS[name] for name in names or MODELS]:
        written.append(_write_folder(model, _free(Path(folder) / model.name)))
        if library is not None:
            path = _free(Path(folder) / f"{model.name}.gguf")
            _write_gguf(model, path, library)
            written.append(path)
    return written


def _free(path: Path) -> Path:
    if path.exists():
        raise UsageError(f"{str(path)!r} already exists; choose another folder")
    return path


def _gguf(required: bool) -> Any:
    try:
        import gguf
    except ImportError as error:
        if required:
            raise MissingDependencyError(
                f"writing a GGUF file needs gguf ({error}); install it with: pip install gguf"
            ) from error
        return None
    return gguf


def _write_folder(model: ProbeModel, path: Path) -> Path:
    path.mkdir(parents=True)
    special = {"bos_token": END, "eos_token": END, "unk_token": END, "pad_token": END}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    tokenizer = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": CONTEXT_LENGTH}
    documents = {
        "config.json": _config(model) | ids,
        "generation_config.json": ids,
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": tokenizer | {"add_prefix_space": False} | special,
        "special_tokens_map.json": special,
        "vocab.json": _ids(),
    }
    for name, content in documents.items():
        (path / name).write_text(json.dumps(content, indent=2, ensure_ascii=True), "utf-8")
    (path / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    safetensors.save_file(_weights(model), path / "model.safetensors", {"format": "pt"})
    return path


def _config(model: ProbeModel) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "corelm_probe": model.name,
        "activation_function": "gelu_new",
        "vocab_size": len(WORDS),
        "n_positions": CONTEXT_LENGTH,
        "n_ctx": CONTEXT_LENGTH,
        "n_embd": WIDTH,
        "n_inner": DENSE,
        "n_head": HEADS,
        "n_layer": 1,
        "layer_norm_epsilon": EPSILON,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def _weights(model: ProbeModel) -> Weights:
    """Return the weights by transformers' names; matrices are (in, out)."""
    zeros, ones = np.zeros, np.ones
    shapes = {
        "h.0.ln_1.weight": ones(WIDTH),
        "h.0.ln_1.bias": zeros(WIDTH),
        "h.0.attn.c_attn.weight": zeros((WIDTH, 3 * WIDTH)),
        "h.0.attn.c_attn.bias": zeros(3 * WIDTH),
        "h.0.attn.c_proj.weight": zeros((WIDTH, WIDTH)),
        "h.0.attn.c_proj.bias": zeros(WIDTH),
        "h.0.ln_2.weight": ones(WIDTH),
        "h.0.ln_2.bias": zeros(WIDTH),
        "h.0.mlp.c_fc.weight": zeros((WIDTH, DENSE)),
        "h.0.mlp.c_fc.bias": zeros(DENSE),
        "h.0.mlp.c_proj.weight": zeros((DENSE, WIDTH)),
        "h.0.mlp.c_proj.bias": zeros(WIDTH),
        "wpe.weight": zeros((CONTEXT_LENGTH, WIDTH)),
        "wte.weight": model.embeddings,
        "ln_f.weight": model.gamma,
        "ln_f.bias": model.beta,
    }
    return {name: np.ascontiguousarray(weight, "float32") for name, weight in shapes.items()}


GGUF_NAMES = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "ln_f": "output_norm",
    "h.0.ln_1": "blk.0.attn_norm",
    "h.0.attn.c_attn": "blk.0.attn_qkv",
    "h.0.attn.c_proj": "blk.0.attn_output",
    "h.0.ln_2": "blk.0.ffn_norm",
    "h.0.mlp.c_fc": "blk.0.ffn_up",
    "h.0.mlp.c_proj": "blk.0.ffn_down",
}


def _write_gguf(model: ProbeModel, path: Path, gguf: Any) -> None:
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_name(f"corelm-probe {model.name}")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(DENSE)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(EPSILON)
    writer.add_file_type(0)  # float32
    _add_vocabulary(writer, gguf.TokenType)
    for name, weight in _weights(model).items():
        layer, _, part = name.rpartition(".")
        own = GGUF_NAMES.get(name) or f"{GGUF_NAMES[layer]}.{part}"
        # llama.cpp stores the matrix of a dense layer as (out, in).
        dense = weight.ndim == 2 and layer.startswith("h.")
        writer.add_tensor(own, np.ascontiguousarray(weight.T if dense else weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, types: Any) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(WORDS)
    writer.add_token_types([types.CONTROL] + [types.NORMAL] * (len(WORDS) - 1))
    writer.add_token_merges([NO_MERGE])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    writer.add_add_bos_token(False)


def _ids() -> dict[str, int]:
    return {word: i for i, word in enumerate(WORDS)}


def _tokenizer() -> dict[str, Any]:
    """Return a tokenizer with a token for each character, in the format of tokenizers."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    end = {"id": 0, "content": END, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end | flags],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": _ids(),
            "merges": [],
        },
    }
