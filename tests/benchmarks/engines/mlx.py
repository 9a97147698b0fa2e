"""mlx-lm: logits processors, alone and in a batch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from corelm_mlx import MlxModel, as_logits_processor
from mlx.utils import tree_map
from mlx_lm import sample_utils, stream_generate
from mlx_lm.generate import BatchGenerator
from mlx_lm.tokenizer_utils import TokenizerWrapper

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

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
         "rms_norm_eps": 1e-5, "max_position_embeddings": 64}  # fmt: skip
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "gpt2": (
        {"n_ctx": 64, "n_positions": 64, "n_embd": 16, "n_head": 2, "n_layer": 2,
         "layer_norm_epsilon": 1e-5}, "bytes"),
    "llama": (SIZES, "bytes with a start"),
    "qwen2": (SIZES, "bytes"),
    "gemma": (SIZES, "pieces"),
    "gpt_neox": (
        SIZES | {"layer_norm_eps": 1e-5, "rotary_emb_base": 10_000, "rotary_pct": 0.5}, "pieces"),
}  # fmt: skip
"""The sizes and the tokenizer of each architecture."""


class Engine:
    """A random model of mlx-lm and its tokenizer.

    Args:
        name: its architecture.
        more_ends: ids that end a text too.
    """

    def __init__(self, name: str, more_ends: Sequence[int] = ()) -> None:
        sizes, tokens = MODELS[name]
        plain = TOKENIZERS[tokens]()
        module = importlib.import_module(f"mlx_lm.models.{name}")
        settings = sizes | {"model_type": name, "vocab_size": len(plain)}
        self.model = _random(module.Model(module.ModelArgs.from_dict(settings)))
        self.tokenizer = TokenizerWrapper(plain, eos_token_ids=[plain.eos_token_id, *more_ends])
        self.start = (
            plain.bos_token_id if plain("a")["input_ids"][0] == plain.bos_token_id else None
        )

    @property
    def in_corelm(self) -> MlxModel:
        """The model in corelm."""
        return MlxModel(self.model, self.tokenizer)

    def ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt, with the start token if there is one."""
        return list(self.tokenizer.encode(prompt))

    def processor(self, sampler: corelm.Sampler, sample: int = 0) -> Any:
        """Return a logits processor for a text."""
        return as_logits_processor(sampler, seed=SEED, sample=sample, tokenizer=self.tokenizer)

    def one_by_one(self, prompts: Sequence[str], *processors: Any, **options: Any) -> Run:
        """Return a run that writes a text after each prompt, with the same processors."""

        def written() -> Texts:
            return [
                cut(
                    [
                        step.token
                        for step in stream_generate(
                            self.model, self.tokenizer, self.ids(prompt), max_tokens=LENGTH,
                            logits_processors=list(processors), **options,
                        )
                    ],
                    self.tokenizer.eos_token_ids,
                )
                for prompt in prompts
            ]  # fmt: skip

        return written

    def in_batch(self, prompts: Sequence[str], sampler: corelm.Sampler) -> Run:
        """Return a run that writes all texts together, each with a processor of its own."""

        def written() -> Texts:
            ends = [[end] for end in self.tokenizer.eos_token_ids]
            batch = BatchGenerator(self.model, stop_tokens=ends)
            uids = batch.insert(
                [self.ids(prompt) for prompt in prompts],
                [LENGTH] * len(prompts),
                logits_processors=[[self.processor(sampler, i)] for i in range(len(prompts))],
            )
            texts: dict[Any, list[int]] = {uid: [] for uid in uids}
            while responses := batch.next_generated():
                for response in responses:
                    texts[response.uid].append(response.token)
            batch.close()
            return [cut(texts[uid], self.tokenizer.eos_token_ids) for uid in uids]

        return written

    def comparison(
        self, prompts: Sequence[str], sampler: corelm.Sampler, model: Any = None, **ways: Run
    ) -> Comparison:
        """Compare runs with corelm, or a model of it; a batch has the samples 0, 1, ..."""
        model = model or self.in_corelm
        samples = range(len(prompts)) if "batch" in ways else [0] * len(prompts)
        return Comparison(lambda: own(model, prompts, sampler, samples), ways, self.start)


def _random(model: Any) -> Any:
    """Replace the weights by large ones, as a new model's weights depend on the time."""
    rng = np.random.default_rng(0)

    def weights(array: Any) -> Any:
        center = 0 if array.ndim > 1 else 0.5
        return mx.array((center + 0.4 * rng.normal(size=array.shape)).astype(np.float32))

    model.update(tree_map(weights, model.parameters()))
    return model


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three prompts of different lengths in one batch, which mlx-lm pads."""
    engine = Engine(name)
    return engine.comparison(PROMPTS, sampler, batch=engine.in_batch(PROMPTS, sampler))


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """A tokenizer with many ends; the sampler keeps them away at first."""
    engine, chain = Engine(name, MANY_ENDS), BEFORE_ENDS | sampler
    run = engine.one_by_one(PROMPTS, engine.processor(chain))
    return engine.comparison(PROMPTS, chain, processor=run)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """The second generation of one processor continues the output of its first."""
    engine = Engine(name)
    processor = engine.processor(sampler)
    engine.one_by_one([PROMPTS[0]], processor)()
    longer = [prompt + " the cat" for prompt in PROMPTS]
    return engine.comparison(longer, sampler, processor=engine.one_by_one(longer, processor))


def drafts(name: str, sampler: corelm.Sampler) -> Comparison:
    """The model is its own draft model, so that guesses are accepted."""
    engine = Engine(name)
    run = engine.one_by_one([REPEATED], engine.processor(sampler), draft_model=engine.model)
    return engine.comparison([REPEATED], sampler, drafts=run)


def first(name: str, sampler: corelm.Sampler) -> Comparison:
    """mlx-lm's repetition penalty acts before the sampler."""
    engine = Engine(name)
    [penalty] = sample_utils.make_logits_processors(
        repetition_penalty=PENALTY, repetition_context_size=3
    )
    run = engine.one_by_one([ALONE], penalty, engine.processor(sampler))
    penalty_of_corelm = corelm.sampler(f"repetition_penalty(penalty={PENALTY}, last=3)")
    model = SettingsFirst(engine.in_corelm, penalty_of_corelm)
    return engine.comparison([ALONE], sampler, model, processor=run)


def replaced(name: str, sampler: corelm.Sampler) -> Comparison:
    """mlx-lm's own sampler comes after and changes nothing."""
    engine = Engine(name)
    after = sample_utils.make_sampler(temp=0.3, top_p=0.5, top_k=3)
    run = engine.one_by_one([ALONE], engine.processor(sampler), sampler=after)
    return engine.comparison([ALONE], sampler, processor=run)


CASES = {
    "three prompts": batch,
    "many ends": ends,
    "second generation": again,
    "guesses": drafts,
    "engine's settings first": first,
    "engine's settings replaced": replaced,
}
