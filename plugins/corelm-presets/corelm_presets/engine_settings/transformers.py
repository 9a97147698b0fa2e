"""The settings of transformers: `generation_config.json`.

Source: transformers 5.24, `_get_logits_processor` in generation/utils.py, and GenerationConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corelm_presets.engine_settings.engine import Engine
from corelm_presets.engine_settings.setting import (
    NoCounterpartError,
    finite_biases,
    nones,
    plain,
    token_ids,
)


def _read_biases(biased: Any) -> dict[int, float] | None:
    pairs = biased.items() if isinstance(biased, Mapping) else biased
    pairs = [(list(ids), bias) for ids, bias in pairs]
    if any(len(ids) != 1 for ids, _ in pairs):
        raise NoCounterpartError("corelm biases one token, not a sequence")
    return finite_biases([(ids[0], bias) for ids, bias in pairs])


def _read_words(sequences: Any) -> list[int] | None:
    words = [list(ids) for ids in sequences]
    if any(len(ids) != 1 for ids in words):
        raise NoCounterpartError("corelm bans one token by its id, not a sequence")
    return [ids[0] for ids in words] or None


def _no_words(words: Any) -> None:
    raise NoCounterpartError  # `suppress_tokens` is written instead


def _no_top_h(h: Any) -> None:
    if h is None:
        return
    raise NoCounterpartError("it sums -p ln p of the 100 likeliest tokens there")


_BIASES = plain(
    "logit_bias", "bias", "sequence_bias", None, default=(),
    read=_read_biases, write=lambda bias: [[[i], bias[i]] for i in token_ids(bias)],
)  # fmt: skip
_BAD_WORDS = plain(
    "ban", "words", "bad_words_ids", None, default=(), read=_read_words, write=_no_words
)
_SUPPRESSED = plain(
    "ban", "words", "suppress_tokens", None, default=(),
    read=lambda tokens: list(tokens or ()), write=token_ids,
)  # fmt: skip
_TOP_H = plain("top_h", "h", "top_h", None, read=_no_top_h, write=_no_top_h)

ENGINE: Engine = Engine(
    "transformers",
    (
        _BIASES,
        plain("repetition_penalty", "penalty", "repetition_penalty", 1.0),
        plain("no_repeat_ngram", "n", "no_repeat_ngram_size", 0),
        _BAD_WORDS,
        plain("min_length", "n", "min_new_tokens", 0),
        _SUPPRESSED,
        plain("temperature", "t", "temperature", 1.0),
        _TOP_H,
        plain("top_k", "k", "top_k", 0, default=50),
        plain("top_p", "p", "top_p", 1.0),
        plain("min_p", "p", "min_p", 0.0),
        plain("typical", "p", "typical_p", 1.0),
        plain("epsilon", "epsilon", "epsilon_cutoff", 0.0),
        plain("eta", "epsilon", "eta_cutoff", 0.0),
    ),
    unsupported={
        "guidance_scale": 1,
        "encoder_repetition_penalty": 1.0,
        "encoder_no_repeat_ngram_size": 0,
        "min_length": 0,
        **nones("forced_bos_token_id forced_eos_token_id exponential_decay_length_penalty"),
        **nones("begin_suppress_tokens watermarking_config"),
        "num_beams": 1,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        **nones("penalty_alpha dola_layers constraints force_words_ids"),
    },
    other=(
        "max_length max_new_tokens early_stopping max_time stop_strings use_mtp use_cache "
        "cache_implementation cache_config max_cache_len length_penalty renormalize_logits "
        "remove_invalid_values token_healing num_return_sequences output_attentions "
        "output_hidden_states output_scores output_logits return_dict_in_generate pad_token_id "
        "bos_token_id eos_token_id decoder_start_token_id is_assistant num_assistant_tokens "
        "num_assistant_tokens_schedule assistant_confidence_threshold prompt_lookup_num_tokens "
        "max_matching_ngram_size assistant_early_exit assistant_lookbehind target_lookbehind "
        "assistant_ensemble_weight speculation_type compile_config disable_compile "
        "continuous_batching_config low_memory prefill_chunk_size transformers_version "
        "_from_model_config _commit_hash"
    ),
    switch="do_sample",
    samples=False,
)
