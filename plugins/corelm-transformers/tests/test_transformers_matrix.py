"""The settings of `generate` in pairs: every value of one with every value of each other.

Faults hide where two settings meet that were only tried apart. The plan below holds every pair that
transformers can run, in 30 of 14,976 combinations; each compares the texts of `generate` with
corelm's own. It takes ten seconds of a processor.
"""

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
import transformers
from corelm_transformers import TransformersModel, as_logits_processor, corelm_loop
from pairwise import SAMPLERS, PairwisePlan, until
from tiny_transformers import TOKENIZER, CallsAnother, tiny_model

import corelm
from corelm.interop.testing import tiny_tokenizer

LENGTH, SEED = 10, 7
MANY = [263, *range(30, 110)]
"""Ends of texts: a third of the tokens, so that a text without its first tokens would end early."""
TOKENIZERS = {False: TOKENIZER, True: tiny_tokenizer(start=True)}
FACTORS = {
    "guesses": ("none", "prompt lookup", "assistant"),
    "ends": ("one", "many", "many in the call", "many by a criterion"),
    "rows": ("alone", "padded"),
    "start": (False, True),
    "generation": ("first", "after another", "after one that was cut off"),
    "cache": ("dynamic", "static", "passed", "none"),
    "way": ("processor", "wrapped", "called alone", "loop"),
    "draw": ("seed", "greedy"),
    "sampler": SAMPLERS,
}


def runs(guesses, cache, way, sampler, **_):
    """Return whether transformers runs a combination, and corelm does not refuse it."""
    if guesses == "none":
        return True
    # Assisted decoding crops its cache, is one of transformers' loops, and surprisals are gone.
    return cache in ("dynamic", "passed") and way != "loop" and "mirostat" not in sampler


PLAN = PairwisePlan(FACTORS, runs)


def one_by_one(
    model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
):
    """A loop of somebody else, which calls each processor itself."""

    class Each(list):
        def __call__(self, ids, scores):
            for processor in logits_processor:
                scores = processor(ids, scores)
            return scores

    arguments = (input_ids, Each(), stopping_criteria, generation_config)
    return model._sample(*arguments, **model_kwargs)


class Case:
    """A combination of the plan, ready to run."""

    def __init__(self, guesses, ends, rows, start, generation, cache, way, draw, sampler):
        self.tokenizer = TOKENIZERS[start]
        self.model, self.assistant = tiny_model(self.tokenizer), tiny_model(self.tokenizer)
        with torch.no_grad():  # right now and then
            weight = self.assistant.transformer.wte.weight
            noise = torch.Generator().manual_seed(1)
            weight += 0.1 * torch.randn(weight.shape, generator=noise)
        for model in (self.model, self.assistant):
            special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 263)
            model.generation_config = transformers.GenerationConfig(**special)
        self.guesses, self.ends, self.cache, self.way = guesses, ends, cache, way
        self.generation = generation
        self.seed = SEED if draw == "seed" else None
        self.sampler = sampler if draw == "seed" else f"{sampler} | greedy"
        self.prompts = ["the cat the cat the", "the cat s", "see"]
        if guesses != "none":  # which are for one row
            self.prompts = self.prompts[:1]
        self.width = 16 if rows == "padded" else None
        if rows == "alone":
            self.prompts = self.prompts[:1]

    def inputs(self, prompts):
        """Return prompts as tensors; padded rows are wider than the longest of them."""
        padding = {"padding": "max_length", "max_length": self.width} if self.width else {}
        return self.tokenizer(prompts, return_tensors="pt", **padding)

    def options(self):
        """Return the options of `generate` but the sampler's."""
        options = {"max_new_tokens": LENGTH, "do_sample": False}
        options |= {
            "none": {},
            "prompt lookup": {"prompt_lookup_num_tokens": 3},
            "assistant": {"assistant_model": self.assistant},
        }[self.guesses]
        options |= {
            "dynamic": {},
            "static": {"cache_implementation": "static"},
            "passed": {"cache": transformers.DynamicCache(config=self.model.config)},
            "none": {"use_cache": False},
        }[self.cache]
        if self.ends == "many in the call":
            options["eos_token_id"] = MANY
        if self.ends == "many by a criterion":
            options["stopping_criteria"] = [transformers.EosTokenCriteria(MANY)]
        return options

    def way_to_sample(self):
        """Return the options of `generate` that put the sampler in."""
        if self.way == "loop":
            options = {"custom_generate": corelm_loop, "sampler": self.sampler, "seed": self.seed}
            return options | {"tokenizer": self.tokenizer}
        made = as_logits_processor(self.sampler, seed=self.seed, tokenizer=self.tokenizer)
        if self.way == "wrapped":
            made = CallsAnother(made)
        own = {"custom_generate": one_by_one} if self.way == "called alone" else {}
        return {"logits_processor": [made], **own}

    def run(self):
        """Return the tokens that transformers adds to each prompt, up to an end."""
        way = self.way_to_sample()
        if self.generation != "first":  # with the one end
            cut = {"max_new_tokens": 1 if self.generation.endswith("off") else 5}
            self.model.generate(**self.inputs(["the cat"]), **self.options() | cut, **way)
        if self.ends == "many":
            self.model.generation_config.eos_token_id = MANY
        inputs = self.inputs(self.prompts)
        found = self.model.generate(**inputs, **self.options(), **way)
        ends = [263] if self.ends == "one" else MANY
        return [until(row, ends) for row in found[:, inputs["input_ids"].shape[1] :].tolist()]

    def expected(self):
        """Return the tokens of corelm: row i is sample i of its prompt."""
        self.model.generation_config.eos_token_id = 263 if self.ends == "one" else MANY
        model = TransformersModel(self.model, self.tokenizer)
        return [
            until(
                [
                    int(step.tokens[0])
                    for step in corelm.stream(
                        model, prompt, sampler=self.sampler, length=LENGTH, seed=SEED, sample=i
                    )
                ],
                model.vocabulary.ends,
            )
            for i, prompt in enumerate(self.prompts)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("combination", PLAN.combinations, ids=PLAN.ids)
def test_the_texts_are_those_of_corelm(combination):
    case = Case(**combination)
    found = case.run()
    assert found == case.expected()


def test_the_plan_holds_every_pair_that_runs():
    """But pairs with guesses that transformers or corelm refuses."""

    def is_refused(one, other):
        (factor, guesses), (_, value) = one, other
        refused = value in ("static", "none", "loop") or "mirostat" in str(value)
        return factor == "guesses" and guesses != "none" and refused

    assert PLAN.left_out == {pair for pair in PLAN.pairs if is_refused(*pair)}
