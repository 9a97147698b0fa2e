"""llama.cpp: logits processors of llama-cpp-python, and samplers in llama.cpp's own chains."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np
from corelm_llama_cpp import (
    LlamaCppModel,
    LlamaCppVocabulary,
    as_logits_processor,
    as_sampler,
)
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

import corelm
from engines.driver import (
    ALONE,
    BEFORE_ENDS,
    LENGTH,
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
from engines.tiny_gguf_models import MODELS, write

__all__ = ["CASES", "MODELS"]
WINDOW = 3
SINGLE = {"n_ctx": 0, "type_k": 0, "type_v": 0, "flash_attn_type": 0,
          "n_threads": 1, "n_threads_batch": 1}  # fmt: skip
"""As corelm's sessions: keys and values in single precision; threads only wait for each other."""


class Engine:
    """A random model in llama-cpp-python and in corelm.

    Args:
        name: its architecture.
        options: more of `llama_cpp.Llama`.
    """

    def __init__(self, name: str, **options: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder) / "tiny.gguf", name)
            self.in_corelm = LlamaCppModel(path)
            self.llm = llama.Llama(str(path), verbose=False, **SINGLE, **options)
        self.vocabulary = LlamaCppVocabulary(self.llm)

    def ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt, with the start token if there is one."""
        start = self.vocabulary.start
        before = [] if start is None else [start]
        return before + self.vocabulary.encode(prompt)

    def processor(self, sampler: corelm.Sampler) -> Any:
        """Return a logits processor."""
        return as_logits_processor(sampler, seed=SEED, vocabulary=self.vocabulary)

    def with_processor(self, prompts: Sequence[str], processor: Any, **options: Any) -> Run:
        """Return a run of llama-cpp-python's loop, with one processor."""
        processors = llama.LogitsProcessorList([processor])

        def written() -> Texts:
            texts = []
            for prompt in prompts:
                tokens = self.llm.generate(self.ids(prompt), logits_processor=processors, **options)
                texts.append(cut(list(islice(tokens, LENGTH)), self.vocabulary.ends))
                processor.raise_error()
            return texts

        return written

    def in_chain(self, prompts: Sequence[str], sampler: corelm.Sampler, *before: Any) -> Run:
        """Return a run of a chain of llama.cpp that ends with corelm's sampler."""
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        made = as_sampler(sampler, seed=SEED, vocabulary=self.vocabulary)
        for stage in (*before, made):
            llama.llama_sampler_chain_add(chain, stage)

        def text(ids: list[int]) -> list[int]:
            llama.llama_sampler_reset(chain)
            self.llm.reset()
            self.llm.eval(ids)
            for token in ids:
                llama.llama_sampler_accept(chain, token)
            tokens: list[int] = []
            while len(tokens) < LENGTH:
                tokens.append(llama.llama_sampler_sample(chain, self.llm.ctx, -1))
                self.llm.eval(tokens[-1:])
            made.raise_error()
            return cut(tokens, self.vocabulary.ends)

        return lambda: [text(self.ids(prompt)) for prompt in prompts]

    def comparison(
        self, prompts: Sequence[str], sampler: corelm.Sampler, model: Any = None, **ways: Run
    ) -> Comparison:
        """Compare runs with corelm, or with a model of it; each text is the first sample."""
        model = model or self.in_corelm
        return Comparison(
            lambda: own(model, prompts, sampler, [0] * len(prompts)), ways, self.vocabulary.start
        )


engine_of = cache(Engine)


def texts(name: str, sampler: corelm.Sampler) -> Comparison:
    """Three prompts, one after another: one processor, and one chain that is reset."""
    engine = engine_of(name)
    return engine.comparison(
        PROMPTS, sampler,
        processor=engine.with_processor(PROMPTS, engine.processor(sampler)),
        chain=engine.in_chain(PROMPTS, sampler),
    )  # fmt: skip


def ends(name: str, sampler: corelm.Sampler) -> Comparison:
    """The six ends of the file; the sampler keeps them away at first."""
    return texts(name, BEFORE_ENDS | sampler)


def again(name: str, sampler: corelm.Sampler) -> Comparison:
    """The second generation of one processor continues the output of its first."""
    engine = engine_of(name)
    processor = engine.processor(sampler)
    engine.with_processor([PROMPTS[0]], processor)()
    longer = [prompt + " the cat" for prompt in PROMPTS]
    run = engine.with_processor(longer, processor)
    return engine.comparison(longer, sampler, processor=run)


def drafts(name: str, sampler: corelm.Sampler) -> Comparison:
    """Guesses from the prompt are accepted or taken back."""
    guesses = LlamaPromptLookupDecoding(num_pred_tokens=3)
    engine = _drafting(name)
    engine.llm.draft_model = guesses
    run = engine.with_processor([REPEATED], engine.processor(sampler))
    return engine.comparison([REPEATED], sampler, drafts=run)


_drafting = cache(lambda name: Engine(name, logits_all=True))


class EnginePenalty(corelm.Sampler):
    """llama.cpp's repetition penalty, which counts the start token too."""

    reads = frozenset({"tokens"})
    start: int = corelm.param(-1, "the start token; -1 for none")

    def __call__(self, logits: np.ndarray, context: corelm.Context) -> np.ndarray:
        changed = logits.copy()
        begin = [self.start] * (self.start >= 0)
        for row, text in zip(changed, context.tokens.tolist(), strict=True):
            ids = sorted({*[*begin, *text][-WINDOW:]})
            row[ids] = np.where(row[ids] <= 0, row[ids] * PENALTY, row[ids] / PENALTY)
        return changed


def first(name: str, sampler: corelm.Sampler) -> Comparison:
    """llama.cpp's repetition penalty comes first in a chain of its own."""
    engine = engine_of(name)
    start = engine.vocabulary.start
    size = len(engine.vocabulary)
    penalty = llama.llama_sampler_init_penalties(size, WINDOW, PENALTY, 0.0, 0.0)
    return engine.comparison(
        [ALONE], sampler,
        SettingsFirst(engine.in_corelm, EnginePenalty(start=-1 if start is None else start)),
        chain=engine.in_chain([ALONE], sampler, penalty),
    )  # fmt: skip


def replaced(name: str, sampler: corelm.Sampler) -> Comparison:
    """llama-cpp-python's own settings come after and change nothing."""
    engine = engine_of(name)
    settings = {"top_k": 2, "temp": 3.0, "repeat_penalty": 1.9, "typical_p": 0.3}
    run = engine.with_processor([ALONE], engine.processor(sampler), **settings)
    return engine.comparison([ALONE], sampler, processor=run)


CASES = {
    "three prompts": texts,
    "many ends": ends,
    "second generation": again,
    "guesses": drafts,
    "engine's settings first": first,
    "engine's settings replaced": replaced,
}
