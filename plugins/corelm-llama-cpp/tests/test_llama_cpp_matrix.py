"""The ways to sample in llama.cpp in pairs: every value of one factor with every value of another.

Faults hide where two settings meet that were only tried apart. The plan holds every pair that
llama.cpp can run; each compares texts with corelm's own. It takes two seconds of a processor.
"""

from itertools import islice

import pytest

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
pytest.importorskip("gguf", reason="pip install gguf")

import llama_cpp as llama
from corelm_llama_cpp import (
    LlamaCppModel,
    LlamaCppSampler,
    LlamaCppVocabulary,
    as_logits_processor,
    as_sampler,
)
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding
from pairwise import SAMPLERS, PairwisePlan, until
from small_models import LLAMA_OPTIONS

import corelm

LENGTH, SEED = 10, 7
FACTORS = {
    "guesses": ("none", "prompt lookup"),
    "prompts": ("one", "three in turn"),
    "start": (False, True),
    "generation": ("first", "after another", "after one that was cut off", "continues the last"),
    "way": ("processor", "wrapped", "chain", "own draw"),
    "settings": ("none", "of the engine"),
    "draw": ("seed", "greedy"),
    "sampler": SAMPLERS,
}
PROMPTS = ["the the the", "This movie", "the"]
NEUTRAL = {"temp": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}
CHANGING = {"temp": 3.0, "top_k": 2, "top_p": 0.9, "min_p": 0.1, "repeat_penalty": 1.9}
"""The engine's settings, which come after a processor."""


def runs(guesses, way, settings, draw, **_):
    """Return whether llama.cpp runs a combination, with corelm's texts as the result."""
    in_chain = way in ("chain", "own draw")
    if in_chain and (guesses != "none" or settings != "none"):  # which are llama-cpp-python's
        return False
    # Without a seed the engine draws, by its settings.
    return draw == "seed" or (settings == "none" and not in_chain)


PLAN = PairwisePlan(FACTORS, runs)


@pytest.fixture(scope="module")
def engines(gguf_file, started_file):
    """Yield a function that opens a file in corelm, and in llama-cpp-python, with drafts or not."""
    opened = {}
    paths = {False: gguf_file, True: started_file}
    options = {"flash_attn": False, **LLAMA_OPTIONS}

    def engine(start, guesses):
        if (start, guesses) not in opened:
            drafting = guesses != "none"
            own = {"logits_all": True, "draft_model": LlamaPromptLookupDecoding(num_pred_tokens=3)}
            llm = llama.Llama(
                str(paths[start]), verbose=False, **options, **(own if drafting else {})
            )
            opened[start, guesses] = LlamaCppModel(paths[start]), llm
        return opened[start, guesses]

    yield engine
    for _, llm in opened.values():
        llm.close()


class Case:
    """A combination of the plan, ready to run."""

    def __init__(self, engines, guesses, prompts, start, generation, way, settings, draw, sampler):
        self.model, self.llm = engines(start, guesses)
        self.vocabulary, self.generation, self.way = LlamaCppVocabulary(self.llm), generation, way
        self.settings = NEUTRAL if settings == "none" else CHANGING
        self.seed = SEED if draw == "seed" else None
        self.sampler = sampler if draw == "seed" else f"{sampler} | greedy"
        begin = [] if self.vocabulary.start is None else [self.vocabulary.start]
        chosen = PROMPTS if prompts != "one" else PROMPTS[:1]
        self.prompts = [[*begin, *self.vocabulary.encode(prompt)] for prompt in chosen]

    def run(self):
        """Return the tokens of llama.cpp after each prompt, up to an end."""
        made = self._made()
        write = self._in_chain if self.way in ("chain", "own draw") else self._in_python
        before = {"first": 0, "after one that was cut off": 1}.get(self.generation, 5)
        if before:
            found = write(made, self.prompts[0], before)
            if self.generation == "continues the last":
                self.prompts[0] += found
        texts = [write(made, ids, LENGTH) for ids in self.prompts]
        made.raise_error()
        return texts

    def _made(self):
        make = as_sampler if self.way in ("chain", "own draw") else as_logits_processor
        return make(self.sampler, seed=self.seed, vocabulary=self.vocabulary)

    def _in_python(self, processor, ids, length):
        each = processor
        if self.way == "wrapped":
            each = lambda *values: processor(*values)  # noqa: E731
        processors = llama.LogitsProcessorList([each])
        found = self.llm.generate(ids, logits_processor=processors, **self.settings)
        return until(islice(found, length), self.vocabulary.ends)

    def _in_chain(self, sampler, ids, length):
        llama.llama_sampler_reset(sampler)
        self.llm.reset()
        self.llm.eval(ids)
        for token in ids:
            llama.llama_sampler_accept(sampler, token)
        draw = LlamaCppSampler.sample if self.way == "own draw" else llama.llama_sampler_sample
        tokens = []
        while len(tokens) < length:
            tokens.append(draw(sampler, self.llm.ctx, -1))
            self.llm.eval(tokens[-1:])
        return until(tokens, self.vocabulary.ends)

    def expected(self):
        """Return the tokens of corelm: each text is the first sample of its prompt."""
        return [
            until(
                corelm.generate(self.model, prompt, sampler=self.sampler, length=LENGTH, seed=SEED)[
                    0
                ].tokens,
                self.vocabulary.ends,
            )
            for prompt in self.prompts
        ]


@pytest.mark.slow
@pytest.mark.parametrize("combination", PLAN.combinations, ids=PLAN.ids)
def test_the_texts_are_those_of_corelm(engines, combination):
    case = Case(engines, **combination)
    assert case.run() == case.expected()


def test_the_plan_holds_every_pair_that_runs():
    """But pairs with chains or without a seed that llama.cpp can't run."""
    refused = {
        frozenset({"prompt lookup", "chain"}), frozenset({"prompt lookup", "own draw"}),
        frozenset({"of the engine", "chain"}), frozenset({"of the engine", "own draw"}),
        frozenset({"greedy", "chain"}), frozenset({"greedy", "own draw"}),
        frozenset({"greedy", "of the engine"}),
    }  # fmt: skip
    assert PLAN.left_out == {
        pair for pair in PLAN.pairs if frozenset(value for _, value in pair) in refused
    }
