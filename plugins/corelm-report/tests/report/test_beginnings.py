"""By default each text has a beginning of its own, and human text is at the same places."""

from __future__ import annotations

import numpy as np
import pytest
from documents import compare

import corelm
from corelm.testing import ToyModel

WORDS = [f"w{i}" for i in range(24)]
PEOPLE = 400


@pytest.fixture(scope="module")
def world():
    """A model whose texts get more surprising from token to token, and people who are that model.

    Half of what people write begins with one word, so one prompt is no sample of their beginnings.
    """
    rng = np.random.default_rng(4)
    model = ToyModel(WORDS, rng.normal(0, 1.5, (len(WORDS) + 2, len(WORDS) + 2)), end=False)
    texts = corelm.generate(model, "", sampler="stochastic", n=PEOPLE, length=20, seed=77)
    return model, [text.text for text in texts]


def test_people_who_are_the_model_are_closest_to_it(world):
    model, people = world
    document = compare(
        ["temperature(t=0.5)", "temperature(t=1.0)", "temperature(t=2.0)"],
        model=model, prompts=None, reference=people, against=None, n=64, length=16,
    )  # fmt: skip
    assert document["reference"]["same_places"]
    assert document["closest"] == ["temperature(t=1.0)"]
    assert document["header"]["beginnings"] == "of human texts"
    assert len(document["header"]["prompts"]) == 64
    difference = document["samplers"][1]["differences"]["generated_texts"]["surprisal"]
    assert difference["ci95"][0] < 0 < difference["ci95"][1]
    summary = corelm.Report(document).summary
    assert summary.startswith("temperature(t=1.0) is closest to human text.")
    assert summary.endswith(
        "Measured on 64 beginnings of human texts, compared with human text at the same positions."
    )


def test_every_human_text_continues_the_prompt_of_its_row(world):
    model, people = world
    document = compare(["stochastic"], model=model, prompts=None, reference=people, n=16)
    prompts = document["header"]["prompts"]
    assert all(any(text.startswith(prompt) for text in people) for prompt in prompts)
    assert all(len(model.vocabulary.encode(prompt)) == 4 for prompt in prompts)


def test_human_texts_elsewhere_are_compared_on_the_contexts_alone(world):
    model, people = world
    document = compare(["stochastic", "greedy"], model=model, reference=people, against=None)
    assert not document["reference"]["compared"]
    assert document["closest"] == []
    found = document["samplers"][0]["differences"]
    assert found["generated_texts"] == {}
    assert found["teacher_forced"].keys() == {"expected_surprisal"}
    said = corelm.Report(document).summary
    assert "texts are not compared with human text, which begins differently" in said
    assert "closest" not in said
    asked = compare(["stochastic", "greedy"], model=model, reference=people, against="human")
    assert asked["samplers"][0]["differences"]["generated_texts"].keys() >= {"surprisal"}
    assert "compared with human text that begins differently" in corelm.Report(asked).summary


def test_without_human_texts_the_model_begins():
    model = ToyModel(WORDS)
    document = compare(["stochastic"], model=model, prompts=None, n=20)
    header = document["header"]
    assert (header["beginnings"], header["n"], len(header["prompts"])) == (
        "drawn from the model", 1, 20,
    )  # fmt: skip
    assert (
        header["prompts"]
        != compare(["stochastic"], model=model, prompts=None, n=20, seed=2)["header"]["prompts"]
    )
    assert "nothing is compared with human text" in corelm.Report(document).summary
    kept = [text["prompt"] for text in document["samplers"][0]["texts"]]
    assert kept == header["prompts"][:5]


def test_texts_of_which_none_can_be_continued_are_a_note():
    document = compare(["greedy"], model=ToyModel(), prompts=None, reference=["the cat"] * 9)
    assert len(document["header"]["prompts"]) == 1
    [note] = [each for each in document["warnings"] if "contexts alone" in each]
    assert "no human text has more than 4 tokens" in note


def test_a_shipped_model_knows_how_human_text_goes_on():
    """The figures of its manifest are at the places of the samplers' texts, at any length."""
    for length in (3, 96):
        document = compare(["stochastic"], model="imdb", prompts=None, n=2, length=length)
        people = document["reference"]
        assert people["same_places"]
        figures = corelm.load("imdb").manifest["figures"]["human"]["continuation"][length - 1]
        own = people["generated_texts"]
        assert [own["surprisal"], own["ci95"]["surprisal"]] == figures
    elsewhere = compare(["stochastic"], model="imdb", prompts="This movie", n=2, length=3)
    assert not elsewhere["reference"]["compared"]
