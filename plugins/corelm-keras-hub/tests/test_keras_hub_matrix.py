"""The ways to generate with KerasHub in pairs: every value of one factor with those of another.

Faults hide where two settings meet that were only tried apart. The plan holds every pair; each
compares texts with corelm's own. The loop isn't compiled here, which would take most of the time.
"""

import pytest

keras_hub = pytest.importorskip("keras_hub", reason="pip install keras-hub")

import tiny_keras_hub  # noqa: E402
from corelm_keras_hub import KerasHubModel, as_sampler  # noqa: E402
from keras import ops  # noqa: E402
from pairwise import PairwisePlan, until  # noqa: E402

import corelm  # noqa: E402

LENGTH, SEED = 6, 7
MANY = tuple(range(40, 90))
"""Ends of texts."""
PROMPTS = ["the cat the", "the", "a cat"]
FACTORS = {
    "prompts": ("one", "three padded"),
    "room": ("exact", "more"),
    "ends": ("one", "many"),
    "generation": ("first", "after a shorter one", "continues the last"),
    "draw": ("seed", "greedy"),
    "sampler": (
        "length_bias(weight=-2.0)",
        "min_length(n=3) | repetition_penalty(penalty=1.5, skip_prompt=True)",
        "mirostat(tau=3.0)",
    ),
}
PLAN = PairwisePlan(FACTORS, lambda **_: True)


@pytest.fixture(scope="module")
def causal_lm():
    return tiny_keras_hub.gpt2()


@pytest.fixture(scope="module")
def models(causal_lm):
    """Return the model in corelm, with one end and with many."""
    return {"one": KerasHubModel(causal_lm), "many": KerasHubModel(causal_lm, ends=MANY)}


class Case:
    """A combination of the plan, ready to run."""

    def __init__(self, causal_lm, models, prompts, room, ends, generation, draw, sampler):
        self.keras, self.model = causal_lm, models[ends]
        self.generation, self.spare = generation, 0 if room == "exact" else 3
        self.sampler = sampler if draw == "seed" else f"{sampler} | greedy"
        made = as_sampler(self.sampler, seed=SEED)
        self.keras.compile(sampler=made, run_eagerly=True)
        vocabulary = self.model.vocabulary
        chosen = PROMPTS if prompts != "one" else PROMPTS[:1]
        self.prompts = [[vocabulary.start, *vocabulary.encode(each)] for each in chosen]

    def write(self, prompts, length):
        """Return the tokens that KerasHub adds to each prompt, up to an end."""
        ends = sorted(self.model.vocabulary.ends)
        width = max(map(len, prompts)) + length + self.spare
        ids = [[*ids, *[0] * (width - len(ids))] for ids in prompts]
        mask = [[i < len(each) for i in range(width)] for each in prompts]
        inputs = {"token_ids": ops.array(ids, "int32"), "padding_mask": ops.array(mask, "bool")}
        found = self.keras.make_generate_function()(inputs, stop_token_ids=ends)
        rows = ops.convert_to_numpy(found["token_ids"]).tolist()
        pairs = zip(rows, prompts, strict=True)
        return [until(row[len(ids) : len(ids) + length], ends) for row, ids in pairs]

    def run(self):
        """Return the tokens after each prompt."""
        before = {"first": 0, "after a shorter one": 2}.get(self.generation, LENGTH)
        if before:
            found = self.write(self.prompts, before)
            if self.generation == "continues the last":
                pairs = zip(self.prompts, found, strict=True)
                self.prompts = [[*ids, *more] for ids, more in pairs]
        return self.write(self.prompts, LENGTH)

    def expected(self):
        """Return the tokens of corelm: row i is sample i of its prompt."""
        ends = self.model.vocabulary.ends
        options = {"sampler": self.sampler, "length": LENGTH, "seed": SEED}
        return [
            until(
                [int(s.tokens[0]) for s in corelm.stream(self.model, ids, sample=i, **options)],
                ends,
            )
            for i, ids in enumerate(self.prompts)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("combination", PLAN.combinations, ids=PLAN.ids)
def test_the_texts_are_those_of_corelm(causal_lm, models, combination):
    case = Case(causal_lm, models, **combination)
    assert case.run() == case.expected()


def test_the_plan_holds_every_pair():
    assert PLAN.left_out == set()
