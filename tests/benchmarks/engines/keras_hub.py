"""KerasHub: a sampler in the loop that its models compile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import keras_hub
import numpy as np
from corelm_keras_hub import KerasHubModel, as_sampler
from corelm_keras_hub.vocabulary import BYTES
from keras import ops

import corelm
from engines.driver import (
    BEFORE_ENDS,
    LENGTH,
    MANY_ENDS,
    PROMPTS,
    SEED,
    Comparison,
    Run,
    Texts,
    cut,
    own,
)

MERGES = ["Ġ t", "h e", "Ġt he", "Ġ c", "a t", "Ġc at"]
SIZES = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32}
GROUPED = SIZES | {"num_query_heads": 2, "num_key_value_heads": 1}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", SIZES | {"num_heads": 2, "max_sequence_length": 64}),
    "bloom": ("Bloom", SIZES | {"num_heads": 2}),
    "qwen2": ("Qwen", GROUPED),
    "gemma": ("Gemma", GROUPED | {"head_dim": 8}),
    "opt": ("OPT", SIZES | {"num_heads": 2, "max_sequence_length": 64, "dropout": 0.0}),
}
"""The class and the sizes of each architecture."""


def _tokenizer(name: str) -> Any:
    """Return a tokenizer of byte pairs; of bytes, for the architecture with SentencePiece."""
    if name == "Gemma":
        tokenizer = keras_hub.tokenizers.ByteTokenizer()
        tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id = None, 1, 0
        return tokenizer
    marks = ["<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>"]
    tokens = [*BYTES, *(merge.replace(" ", "") for merge in MERGES), *marks]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return getattr(keras_hub.models, f"{name}Tokenizer")(vocabulary=vocabulary, merges=MERGES)


@cache
def causal_lm_of(architecture: str) -> Any:
    """Return the random model of an architecture."""
    name, sizes = MODELS[architecture]
    tokenizer = _tokenizer(name)
    special = f"{name}CausalLMPreprocessor" if name != "Gemma" else "CausalLMPreprocessor"
    preprocessor = getattr(keras_hub.models, special)(tokenizer, sequence_length=40)
    backbone = getattr(keras_hub.models, f"{name}Backbone")(
        vocabulary_size=tokenizer.vocabulary_size(), **sizes
    )
    rng = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    task = getattr(keras_hub.models, f"{name}CausalLM")
    return task(backbone=backbone, preprocessor=preprocessor)


class Engine:
    """A model of KerasHub that generates with a sampler.

    Args:
        name: its architecture.
        sampler: the sampler.
        ends: ids that end a text; by default the tokenizer's.
    """

    def __init__(self, name: str, sampler: corelm.Sampler, ends: Sequence[int] = ()) -> None:
        self.model = causal_lm_of(name)
        self.model.compile(sampler=as_sampler(sampler, seed=SEED), jit_compile=False)
        self.in_corelm = _in_corelm(name, tuple(ends))
        self._sampler, self._ends = sampler, sorted(self.in_corelm.vocabulary.ends)

    def run(self, prompts: Sequence[str]) -> Run:
        """Return a run of `generate` on ids, with the tokens that it adds to each prompt."""
        vocabulary = self.in_corelm.vocabulary
        before = vocabulary.start is not None
        lengths = [before + len(vocabulary.encode(prompt)) for prompt in prompts]
        inputs = self.model.preprocessor.generate_preprocess(
            list(prompts), sequence_length=max(lengths) + LENGTH
        )

        def written() -> Texts:
            outputs = self.model.make_generate_function()(inputs, stop_token_ids=self._ends)
            rows = ops.convert_to_numpy(outputs["token_ids"])
            return [
                cut(row[length : length + LENGTH], self._ends)
                for row, length in zip(rows, lengths, strict=True)
            ]

        return written

    def comparison(self, prompts: Sequence[str]) -> Comparison:
        """Compare a run with corelm."""
        return Comparison(
            lambda: own(self.in_corelm, prompts, self._sampler),
            {"sampler": self.run(prompts)},
            self.in_corelm.vocabulary.start,
        )


@cache
def _in_corelm(name: str, ends: tuple[int, ...]) -> KerasHubModel:
    return KerasHubModel(causal_lm_of(name), ends=ends or None)


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three prompts of different lengths in one batch."""
    return Engine(name, sampler).comparison(PROMPTS)


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """Many stop tokens; the sampler keeps them away at first."""
    return Engine(name, BEFORE_ENDS | sampler, MANY_ENDS).comparison(PROMPTS)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """The second generation of one compiled sampler continues the output of its first."""
    engine = Engine(name, sampler)
    engine.run(PROMPTS)()
    return engine.comparison([prompt + " the cat" for prompt in PROMPTS])


CASES = {"three prompts": batch, "many ends": ends, "second generation": again}
