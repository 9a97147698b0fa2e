"""transformers: logits processors and corelm's own loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from corelm_transformers import TransformersModel, as_logits_processor, corelm_loop

import corelm
from engines.driver import (
    ALONE,
    BEFORE_ENDS,
    LENGTH,
    MANY_ENDS,
    PENALTY,
    PROMPTS,
    REPEATED,
    SEED,
    Comparison,
    Run,
    SettingsFirst,
    Texts,
    cut,
    own,
)
from engines.tiny_tokenizers import TOKENIZERS

Models = dict[str, tuple[str, dict[str, Any], str]]
"""The configuration, the sizes and the tokenizer of each architecture."""


def architectures(width: int, head: int, spread: float) -> Models:
    """Return small architectures.

    Args:
        width: of the hidden states.
        head: the width of an attention head.
        spread: of the random weights.
    """
    heads, weights = width // head, {"initializer_range": spread}
    gpt2 = {"n_embd": width, "n_layer": 2, "n_head": heads, "n_positions": 64}
    others = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2,
              "num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": head,
              "max_position_embeddings": 64}  # fmt: skip
    return {
        "gpt2": ("GPT2Config", gpt2 | weights, "bytes"),
        "llama": ("LlamaConfig", others | weights, "bytes with a start"),
        "qwen2": ("Qwen2Config", others | weights, "bytes"),
        "gemma": ("GemmaConfig", others | weights, "pieces"),
        "gpt_neox": ("GPTNeoXConfig", others | weights, "pieces"),
    }


MODELS = architectures(16, 8, 0.4)

torch.set_num_threads(1)


class EnginePenalty(corelm.Sampler):
    """transformers' own repetition penalty, which counts the start token too."""

    reads = frozenset({"tokens"})
    start: int = corelm.param(-1, "the start token; -1 for none")

    def __call__(self, logits: np.ndarray, context: corelm.Context) -> np.ndarray:
        begins = np.full((len(logits), int(self.start >= 0)), self.start)
        ids = torch.from_numpy(np.concatenate([begins, context.tokens], axis=1))
        penalty = transformers.RepetitionPenaltyLogitsProcessor(PENALTY)
        return penalty(ids, torch.from_numpy(logits.copy())).numpy()


class Engine:
    """A random model of transformers and its tokenizer.

    Args:
        name: its architecture.
        models: the architectures.
    """

    def __init__(self, name: str, models: Models = MODELS) -> None:
        config, sizes, tokens = models[name]
        self.tokenizer = TOKENIZERS[tokens]()
        torch.manual_seed(0)
        special = {f"{kind}_token_id": getattr(self.tokenizer, f"{kind}_token_id")
                   for kind in ("bos", "eos", "pad")}  # fmt: skip
        made = getattr(transformers, config)(vocab_size=len(self.tokenizer), **sizes, **special)
        self.model = transformers.AutoModelForCausalLM.from_config(made).eval()
        self.model.generation_config = transformers.GenerationConfig(**special)

    @property
    def in_corelm(self) -> TransformersModel:
        """The model in corelm."""
        return TransformersModel(self.model, self.tokenizer)

    @property
    def settings(self) -> Any:
        """The model's generation_config."""
        return self.model.generation_config

    def inputs(self, prompts: Sequence[str]) -> Any:
        """Return prompts as tensors, padded on the left."""
        return self.tokenizer(list(prompts), return_tensors="pt", padding=True)

    def processor(self, sampler: corelm.Sampler) -> dict[str, Any]:
        """Return the options of `generate` for a logits processor."""
        made = as_logits_processor(sampler, seed=SEED, tokenizer=self.tokenizer)
        return {"logits_processor": [made]}

    def loop(self, sampler: corelm.Sampler) -> dict[str, Any]:
        """Return the options of `generate` for corelm's loop."""
        options = {"custom_generate": corelm_loop, "sampler": sampler, "seed": SEED}
        return {**options, "tokenizer": self.tokenizer}

    def run(self, prompts: Sequence[str], **options: Any) -> Run:
        """Return a run of `generate`, with the tokens that it adds to each prompt."""
        inputs = self.inputs(prompts)

        def written() -> Texts:
            found = self.model.generate(**inputs, max_new_tokens=LENGTH, **options)
            ends = self.settings.eos_token_id
            ends = ends if isinstance(ends, list) else [ends]
            return [cut(row, ends) for row in found[:, inputs["input_ids"].shape[1] :].tolist()]

        return written

    def comparison(
        self,
        prompts: Sequence[str],
        sampler: corelm.Sampler,
        model: corelm.LanguageModel | None = None,
        **ways: dict[str, Any],
    ) -> Comparison:
        """Compare runs with these options with corelm; by default the processor and the loop."""
        model = model or self.in_corelm
        ways = ways or {"processor": self.processor(sampler), "loop": self.loop(sampler)}
        return Comparison(
            lambda: own(model, prompts, sampler),
            {way: self.run(prompts, **options) for way, options in ways.items()},
            self.tokenizer.bos_token_id,
        )


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three prompts of different lengths in one batch."""
    return Engine(name).comparison(PROMPTS, sampler)


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """A model with many ends; the sampler keeps them away at first."""
    engine = Engine(name)
    engine.settings.eos_token_id = [engine.settings.eos_token_id, *MANY_ENDS]
    return engine.comparison(PROMPTS, BEFORE_ENDS | sampler)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """The second generation of one processor continues the output of its first."""
    engine = Engine(name)
    processor = engine.processor(sampler)
    engine.model.generate(**engine.inputs(PROMPTS), max_new_tokens=2, do_sample=True, **processor)
    longer = [prompt + " the cat" for prompt in PROMPTS]
    return engine.comparison(longer, sampler, processor=processor, loop=engine.loop(sampler))


def drafts(name: str, sampler: corelm.Sampler) -> Comparison:
    """Guesses from the prompt are accepted or taken back."""
    engine = Engine(name)
    options = engine.processor(sampler) | {"prompt_lookup_num_tokens": 3}
    return engine.comparison([REPEATED], sampler, drafts=options)


def first(name: str, sampler: corelm.Sampler) -> Comparison:
    """A repetition penalty of the model's generation_config acts before the sampler."""
    engine = Engine(name)
    engine.settings.repetition_penalty = PENALTY
    first_id, bos = int(engine.inputs([ALONE])["input_ids"][0, 0]), engine.tokenizer.bos_token_id
    penalty = EnginePenalty(start=bos if first_id == bos else -1)
    model = SettingsFirst(engine.in_corelm, penalty)
    return engine.comparison([ALONE], sampler, model, processor=engine.processor(sampler))


def replaced(name: str, sampler: corelm.Sampler) -> Comparison:
    """corelm's loop takes the place of the repetition penalty of the model's settings."""
    engine = Engine(name)
    engine.settings.repetition_penalty = PENALTY
    return engine.comparison([ALONE], sampler, loop=engine.loop(sampler))


CASES = {
    "three prompts": batch,
    "many ends": ends,
    "second generation": again,
    "guesses": drafts,
    "engine's settings first": first,
    "engine's settings replaced": replaced,
}
