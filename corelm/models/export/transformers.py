"""Folders for transformers: a model, and a sampler for `generate(custom_generate=FOLDER)`.

The model is a GPT2LMHeadModel with its fast tokenizer, which mlx-lm opens too. Source of the
sampler's folder: transformers 5.24, `load_custom_generate` in generation/utils.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors import numpy as safetensors

from corelm.contracts.sampling import Sampler
from corelm.models.bundle import Bundle
from corelm.models.byte_pairs import END, BytePairVocabulary
from corelm.models.networks.base import Architecture
from corelm.text.lines import dump_json

LAYERS = {
    "attention_norm": "ln_1",
    "qkv": "attn.c_attn",
    "attention_out": "attn.c_proj",
    "dense_norm": "ln_2",
    "dense_in": "mlp.c_fc",
    "dense_out": "mlp.c_proj",
}
PARTS = {"gamma": "weight", "kernel": "weight", "beta": "bias", "bias": "bias"}


def files(model: Bundle, vocabulary: BytePairVocabulary) -> dict[str, bytes]:
    """Return the files of the folder by name."""
    ids = {word: i for i, word in enumerate(vocabulary.words)}
    merges = "".join(f"{left} {right}\n" for left, right in vocabulary.merges)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    special["pad_token"] = vocabulary.words[vocabulary.padding]
    weights = {_name(name): np.ascontiguousarray(w, "float32") for name, w in model.weights.items()}
    return {
        "config.json": dump_json(_config(model.architecture, vocabulary)),
        "generation_config.json": dump_json(_special_ids(vocabulary)),
        "model.safetensors": safetensors.save(weights, {"format": "pt"}),
        "tokenizer.json": dump_json(_tokenizer(vocabulary, ids)),
        "tokenizer_config.json": dump_json(
            {
                "tokenizer_class": "GPT2Tokenizer",
                "model_max_length": model.architecture.context_length,
                "add_bos_token": vocabulary.start is not None,
                "add_prefix_space": False,
                **special,
            }
        ),
        "special_tokens_map.json": dump_json(special),
        # For readers of the older format, which has the tokenizer in two files.
        "vocab.json": dump_json(ids),
        "merges.txt": f"#version: 0.2\n{merges}".encode(),
    }


def _special_ids(vocabulary: BytePairVocabulary) -> dict[str, int]:
    [end] = vocabulary.ends
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": vocabulary.padding}


def _config(a: Architecture, vocabulary: BytePairVocabulary) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",  # the approximation by tanh, as in corelm's kernels
        "vocab_size": a.vocabulary_size,
        "n_positions": a.context_length,
        "n_ctx": a.context_length,
        "n_embd": a.width,
        "n_inner": a.dense,
        "n_head": a.heads,
        "n_layer": a.blocks,
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **_special_ids(vocabulary),
    }


def _name(ours: str) -> str:
    """Return transformers' name for a weight, as in the original GPT-2.

    transformers reads the names with and without its prefix `transformer.`, mlx-lm only without.

    Example:
        >>> _name("block_0/qkv/kernel")
        'h.0.attn.c_attn.weight'
    """
    first, *middle, part = ours.split("/")
    if first == "embedding":
        return "wte.weight" if middle == ["token_embeddings"] else "wpe.weight"
    if first == "norm":
        return f"ln_f.{PARTS[part]}"
    block = first.removeprefix("block_")
    return f"h.{block}.{LAYERS[middle[0]]}.{PARTS[part]}"


def _tokenizer(vocabulary: BytePairVocabulary, ids: dict[str, int]) -> dict[str, Any]:
    """Return the tokenizer in the format of tokenizers; it may put `END` before texts."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    pair = {"Sequence": {"id": "B", "type_id": 0}}
    start = {"SpecialToken": {"id": END, "type_id": 0}}
    before = {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, pair],
        "special_tokens": {END: {"id": END, "ids": [ids[END]], "tokens": [END]}},
    }
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[word], "content": word, **dict.fromkeys(flags, False), "special": True}
            for word in vocabulary.special
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": None if vocabulary.start is None else before,
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
            "vocab": ids,
            "merges": [list(merge) for merge in vocabulary.merges],
        },
    }


PACKAGES = ("corelm", "corelm-transformers")
"""The packages that the folder requires; transformers names those that are missing."""

GENERATE = '''\
"""Sample with corelm in transformers; the packages are in requirements.txt.

Call model.generate(**inputs, custom_generate=FOLDER, trust_remote_code=True, seed=7).
"""

from corelm_transformers import corelm_loop

SAMPLER = {sampler}


def generate(model, seed=None, **arguments):
    """Generate with SAMPLER; a seed decides the random numbers, as in `corelm.generate`."""
    return model.generate(custom_generate=corelm_loop, sampler=SAMPLER, seed=seed, **arguments)
'''


def generate_files(sampler: Sampler) -> dict[str, bytes]:
    """Return the files of the folder by name.

    Args:
        sampler: the sampler, written as its expression in a Python string literal, so that no text
            in it can become code.
    """
    code = GENERATE.format(sampler=ascii(str(sampler)))
    return {
        "custom_generate/generate.py": code.encode(),
        "custom_generate/requirements.txt": "".join(f"{p}\n" for p in PACKAGES).encode(),
    }


def local_parameters(sampler: Sampler) -> list[str]:
    """Return the parameters with a file, a model or a secret as value, such as `key of green_list`.

    They are written into the folder unchanged: a path means nothing on another machine, and a
    secret would be published.
    """
    return [
        f"{parameter.name} of {part.name}"
        for part in sampler.parts()
        for parameter in part.parameters()
        if parameter.rule.local and getattr(part, parameter.name) != parameter.default
    ]
