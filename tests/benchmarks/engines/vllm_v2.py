"""vLLM's model runner V2, which no processor can run, by the stand-ins of the plugin's tests.

The logits come from random models of transformers. A request names its sampler in text, so a
second engine, whose requests have no seed, shows the distributions.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import corelm
from corelm.interop.testing import DISTRIBUTIONS
from engines import transformers as random_models
from engines.driver import (
    BEFORE_ENDS,
    LENGTH,
    MANY_ENDS,
    PROMPTS,
    REPEATED,
    SEED,
    Comparison,
    Run,
    Texts,
    cut,
    own_by_seed,
)

MODELS = random_models.MODELS
PLUGIN = Path(__file__).parents[3] / "plugins" / "corelm-vllm"
GUESSES = 3


def _stand_ins() -> Any:
    spec = importlib.util.spec_from_file_location("vllm_stand_ins", PLUGIN / "vllm_stand_ins.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stand_ins = _stand_ins()


class Engine:
    """A random model whose logits corelm's processor for vLLM changes.

    Args:
        name: its architecture.
        sampler: a chain that ends with `Recorded`.
        ends: ids that end a text too.
    """

    def __init__(self, name: str, sampler: corelm.Sampler, ends: Sequence[int] = ()) -> None:
        model = random_models.Engine(name)
        first = model.settings.eos_token_id
        model.settings.eos_token_id = [first, *ends]
        self.model, self._sampler = model.in_corelm, sampler
        self.ends = sorted(self.model.vocabulary.ends)
        self._logits: dict[tuple[int, ...], np.ndarray] = {}
        self.expression = " | ".join(str(stage) for stage in sampler.stages[:-1])

    def ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt, with the start token if there is one."""
        start = self.model.vocabulary.start
        return [*([] if start is None else [start]), *self.model.vocabulary.encode(prompt)]

    def logits_of(self, text: Sequence[int]) -> np.ndarray:
        """Return the model's logits after a text."""
        key = tuple(text)
        if key not in self._logits:  # two engines in two interfaces pass nearly the same texts
            rest = text[1:] if text[0] == self.model.vocabulary.start else text
            self._logits[key] = self.model.start(np.array([rest])).next_logits()[0]
        return self._logits[key]

    def asking(self, sample: int, seed: bool = True) -> Any:
        """Return a request; vLLM has no samples, so each row has a seed of its own."""
        extra = {"corelm": self.expression} | ({"corelm_seed": SEED + sample} if seed else {})
        return stand_ins.SamplingParams(extra_args=extra, eos_ids=tuple(self.ends))

    def processor(self) -> Any:
        """Return the plugin's class and its configuration."""
        vocabulary = self.model.vocabulary
        start = [] if vocabulary.start is None else [vocabulary.start]
        settings = {
            "tokenizer_object": stand_ins.Tokenizer(vocabulary, start),
            "hf_config": types.SimpleNamespace(eos_token_id=self.ends),
            "get_vocab_size": lambda: len(vocabulary),
        }
        sys.modules.pop("corelm_vllm.processor", None)
        module = importlib.import_module("corelm_vllm.processor")
        config = types.SimpleNamespace(
            model_config=types.SimpleNamespace(**settings),
            scheduler_config=types.SimpleNamespace(max_num_seqs=64),
        )
        return module.CorelmLogitsProcessor, config

    def comparison(self, prompts: Sequence[str], **ways: Callable[[Engine, Any], Texts]) -> Any:
        """Compare runs of vLLM's loops with corelm."""

        def run(way: Callable[[Engine, Any], Texts]) -> Run:
            def written() -> Texts:
                with pytest.MonkeyPatch.context() as patch:
                    patch.delitem(sys.modules, "corelm_vllm.processor", raising=False)
                    return way(self, patch)

            return written

        return Comparison(
            lambda: own_by_seed(self.model, prompts, self._sampler),
            {name: run(way) for name, way in ways.items()},
            self.model.vocabulary.start,
        )


def v2(prompts: Sequence[str], before: Sequence[str] = (), guesses: int = 0) -> Any:
    """Return the loop of model runner V2: rows in changing order, and guesses as further rows.

    Args:
        prompts: one for each slot.
        before: prompts of requests that had the same slots.
        guesses: guesses in each step, of which some are wrong.
    """

    def written(engine: Engine, patch: Any) -> Texts:
        stand_ins.install(patch, ["V2"])
        made = engine.processor()
        size = len(engine.model.vocabulary)
        drawing, showing = (stand_ins.V2Engine(*made, vocabulary=size) for _ in range(2))
        for earlier in filter(None, (before, prompts)):
            for slot, prompt in enumerate(earlier):
                drawing.add(slot, engine.ids(prompt), engine.asking(slot))
                showing.add(slot, engine.ids(prompt), engine.asking(slot, seed=False))
            for step in range(LENGTH if earlier is prompts else 2):
                slots = list(range(len(earlier)))[:: 1 if step % 2 else -1]
                _advance(engine, drawing, showing, slots, guesses)
        return [
            cut(drawing.text(slot)[len(engine.ids(prompt)) :][:LENGTH], engine.ends)
            for slot, prompt in enumerate(prompts)
        ]

    return written


def _advance(engine: Engine, drawing: Any, showing: Any, slots: list[int], guesses: int) -> None:
    """Take a step in both engines, and let slots continue that have no end yet."""
    drafts = {}
    if guesses:  # the model's likeliest tokens, the last of them wrong
        for slot in slots:
            text = drawing.text(slot)
            for _ in range(guesses):
                text = [*text, int(engine.logits_of(text).argmax())]
            drafts[slot] = [*text[-guesses:-1], 3]
    shown = torch.softmax(showing.step(slots, engine.logits_of, drafts), -1).numpy()
    rows = drawing.step(slots, engine.logits_of, drafts).argmax(-1).tolist()
    i = 0
    for slot in slots:
        guess = drafts.get(slot, [])
        for j in range(len(guess) + 1):
            DISTRIBUTIONS[tuple(drawing.text(slot))] = shown[i + j]
            drawing.commit(slot, rows[i + j])
            showing.commit(slot, rows[i + j])
            if j == len(guess) or rows[i + j] != guess[j]:
                break
        i += len(guess) + 1


def batch(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three requests at a time."""
    return Engine(name, sampler).comparison(PROMPTS, v2=v2(PROMPTS))


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """Many ends; the sampler keeps them away at first."""
    engine = Engine(name, BEFORE_ENDS | sampler, MANY_ENDS)
    return engine.comparison(PROMPTS, v2=v2(PROMPTS))


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """Requests in the place of others, whose texts they continue."""
    longer = [prompt + " the cat" for prompt in PROMPTS]
    return Engine(name, sampler).comparison(longer, v2=v2(longer, before=PROMPTS))


def drafts(name: str, sampler: corelm.Sampler) -> Comparison:
    """Guesses, of which some are accepted."""
    return Engine(name, sampler).comparison([REPEATED], v2=v2([REPEATED], guesses=GUESSES))


CASES = {
    "three prompts": batch,
    "many ends": ends,
    "second generation": again,
    "guesses": drafts,
}
