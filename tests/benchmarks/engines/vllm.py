"""The real vLLM on a processor, with random models of transformers.

Each model is saved, and read by an `LLM` of its own. A request names its sampler in text, so the
recorder of the distributions is a sampler with a name.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from corelm_transformers import TransformersModel

import corelm
from corelm import hookimpl
from corelm.interop.testing import Recorded
from corelm.runs import plugins
from engines.driver import BEFORE_ENDS, LENGTH, MANY_ENDS, PROMPTS, SEED, Comparison, Texts, cut
from engines.tiny_tokenizers import TOKENIZERS

sys.path.insert(0, str(Path(__file__).parents[3] / "plugins" / "corelm-vllm"))
from vllm_on_cpu import engine

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32,
         "max_position_embeddings": 64}  # fmt: skip
"""vLLM's attention on processors needs heads of 32 at least."""
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64}, "bytes"),
    "llama": ("LlamaConfig", SIZES, "bytes with a start"),
    "qwen2": ("Qwen2Config", SIZES, "bytes"),
    "gemma": ("GemmaConfig", SIZES, "pieces"),
}
"""The configuration, the sizes and the tokenizer of each architecture; GPT-NeoX doesn't load."""

EXIT = ExitStack()
atexit.register(EXIT.close)


def _register() -> None:
    """Offer the recorder by name."""

    @hookimpl
    def corelm_samplers() -> Mapping[str, type[corelm.Sampler]]:
        return {"recorded": Recorded}

    plugins.registry().register(types.SimpleNamespace(corelm_samplers=corelm_samplers))


_register()


class Engine:
    """A random model in vLLM and in corelm.

    Args:
        name: its architecture.
        ends: ids that end a text too.
    """

    def __init__(self, name: str, ends: Sequence[int] = ()) -> None:
        config, sizes, tokens = MODELS[name]
        self.tokenizer = TOKENIZERS[tokens]()
        torch.manual_seed(0)
        special = {f"{kind}_token_id": getattr(self.tokenizer, f"{kind}_token_id")
                   for kind in ("bos", "eos", "pad")}  # fmt: skip
        options = {"vocab_size": len(self.tokenizer), "initializer_range": 0.2, **special}
        made = getattr(transformers, config)(**sizes, **options)
        model = transformers.AutoModelForCausalLM.from_config(made).eval()
        special["eos_token_id"] = [special["eos_token_id"], *ends]
        model.generation_config = transformers.GenerationConfig(**special)
        folder = tempfile.mkdtemp()
        EXIT.callback(shutil.rmtree, folder, ignore_errors=True)
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.in_corelm = TransformersModel(model, self.tokenizer)
        self.llm = EXIT.enter_context(
            engine(folder, max_model_len=64, max_num_seqs=8, disable_log_stats=True)
        )

    def comparison(
        self, prompts: Sequence[str], sampler: corelm.Sampler, before: Sequence[str] = ()
    ) -> Comparison:
        """Compare requests in vLLM with corelm; requests with the prompts `before` go first."""
        expression = " | ".join(map(str, sampler.stages[:-1])) + " | recorded"
        ends = sorted(self.in_corelm.vocabulary.ends)

        def requests(some: Sequence[str]) -> Texts:
            from vllm import SamplingParams

            params = [
                SamplingParams(
                    extra_args={"corelm": expression, "corelm_seed": SEED + i}, max_tokens=LENGTH
                )
                for i in range(len(some))
            ]
            outputs = self.llm.generate(list(some), params, use_tqdm=False)
            return [cut(each.outputs[0].token_ids, ends) for each in outputs]

        def written() -> Texts:
            if before:
                requests(before)
            return requests(prompts)

        def expected() -> Texts:
            return [self._own(prompt, sampler, SEED + i) for i, prompt in enumerate(prompts)]

        return Comparison(expected, {"V1": written}, self.tokenizer.bos_token_id)

    def _own(self, prompt: str, sampler: corelm.Sampler, seed: int) -> list[int]:
        steps = corelm.stream(self.in_corelm, prompt, sampler=sampler, length=LENGTH, seed=seed)
        return cut([int(step.tokens[0]) for step in steps], self.in_corelm.vocabulary.ends)


made = cache(Engine)
"""An engine takes seconds to start, so one serves all samplers of a case."""


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three requests at a time."""
    return made(name).comparison(PROMPTS, sampler)


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """Many ends; the sampler keeps them away at first."""
    return made(name, MANY_ENDS).comparison(PROMPTS, BEFORE_ENDS | sampler)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """Requests after others, whose texts they continue: vLLM keeps what it has read of them."""
    longer = [prompt + " the cat" for prompt in PROMPTS]
    return made(name).comparison(longer, sampler, before=PROMPTS)


CASES = {"three prompts": batch, "many ends": ends, "second generation": again}
