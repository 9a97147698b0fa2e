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

import corelm
from corelm import hookimpl
from corelm.interop.testing import Recorded
from corelm.runs import plugins
from engines import transformers as random_models
from engines.driver import (
    BEFORE_ENDS,
    LENGTH,
    MANY_ENDS,
    PROMPTS,
    SEED,
    Comparison,
    Texts,
    cut,
    own_by_seed,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "plugins" / "corelm-vllm"))
from vllm_on_cpu import engine

MODELS = random_models.architectures(64, 32, 0.2)
"""vLLM's attention on processors needs heads of 32 at least."""
del MODELS["gpt_neox"]  # which doesn't load

EXIT = ExitStack()
atexit.register(EXIT.close)


def _register() -> None:
    """Offer the recorder by name."""

    @hookimpl
    def corelm_samplers() -> Mapping[str, type[corelm.Sampler]]:
        return {"recorded": Recorded}

    plugins.registry().register(types.SimpleNamespace(corelm_samplers=corelm_samplers))


_register()


class Engine(random_models.Engine):
    """A random model in vLLM and in corelm.

    Args:
        name: its architecture.
        ends: ids that end a text too.
    """

    def __init__(self, name: str, ends: Sequence[int] = ()) -> None:
        super().__init__(name, MODELS)
        self.settings.eos_token_id = [self.settings.eos_token_id, *ends]
        folder = tempfile.mkdtemp()
        EXIT.callback(shutil.rmtree, folder, ignore_errors=True)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.llm = EXIT.enter_context(
            engine(folder, max_model_len=64, max_num_seqs=8, disable_log_stats=True)
        )

    def compared(
        self, prompts: Sequence[str], sampler: corelm.Sampler, before: Sequence[str] = ()
    ) -> Comparison:
        """Compare requests in vLLM with corelm; requests with the prompts `before` go first."""
        expression = " | ".join(map(str, sampler.stages[:-1])) + " | recorded"
        model = self.in_corelm
        ends = sorted(model.vocabulary.ends)

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

        return Comparison(
            lambda: own_by_seed(model, prompts, sampler),
            {"V1": written},
            self.tokenizer.bos_token_id,
        )


made = cache(Engine)
"""An engine takes seconds to start, so one serves all samplers of a case."""


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three requests at a time."""
    return made(name).compared(PROMPTS, sampler)


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """Many ends; the sampler keeps them away at first."""
    return made(name, MANY_ENDS).compared(PROMPTS, BEFORE_ENDS | sampler)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """Requests after others, whose texts they continue: vLLM keeps what it has read of them."""
    longer = [prompt + " the cat" for prompt in PROMPTS]
    return made(name).compared(longer, sampler, before=PROMPTS)


CASES = {"three prompts": batch, "many ends": ends, "second generation": again}
