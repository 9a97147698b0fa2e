"""The human row: measured on human texts, or taken from the manifest of the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from documents import TEXTS, carrier, compare

import corelm
from corelm.bundles import Corpus
from corelm.errors import DataError, UsageError
from corelm.testing import ToyModel


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without data."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# Human texts


def test_human_texts_without_a_known_word_are_refused():
    with pytest.raises(UsageError, match="the model knows no word of the human texts"):
        corelm.compare(ToyModel(), ["greedy"], n=2, length=3, reference=["zzz yyy"] * 9)


def test_a_text_that_is_there_twice_is_one_unit_and_noted():
    report = corelm.compare(
        ToyModel(), ["greedy"], n=2, length=3, reference=["the cat sat", "the dog sat"] * 8
    ).to_dict()
    human = report["reference"]
    assert "only 2 of them are different, and copies of a text are one unit" in human["description"]
    assert human["generated_texts"]["units"] == 2
    assert human["generated_texts"]["ci95"]["surprisal"] is None


def test_a_uniform_model_has_no_likeliest_temperature():
    model = ToyModel(["a", "b", "c"], logits=[0.0] * 5, end=False)
    texts = [f"{x} {y} {z}" for x in "abc" for y in "abc" for z in "abc"]
    fit = corelm.compare(model, ["stochastic"], n=2, length=3, reference=texts).to_dict()[
        "reference"
    ]["temperature"]
    assert (fit["t"], fit["t_ci95"], fit["beyond"]) == (None, None, "undetermined")


def test_texts_of_the_likeliest_words_alone_have_no_likeliest_temperature():
    """Before, their temperature was said to be 0.65."""
    model = ToyModel(["a", "b", "c"], logits=[-9.0, -9.0, 3.0, 1.0, 0.0], end=False)
    texts = ["a " * n for n in range(2, 14)]
    fit = corelm.compare(model, ["stochastic"], n=2, length=3, reference=texts).to_dict()[
        "reference"
    ]["temperature"]
    assert (fit["t"], fit["beyond"]) == (None, "below")


def test_human_texts_are_the_contexts_and_a_row():
    document = compare(reference=TEXTS, length=20)
    assert document["header"]["contexts"] == {
        "source": "human", "description": "4 texts given", "texts": 4, "positions": 17,
    }  # fmt: skip
    human = document["reference"]
    assert human["generated_texts"]["n"] == 4
    assert human["generated_texts"]["rep_2"] is not None
    entropies = [
        corelm.entropy(
            corelm.sampling_distribution(
                corelm.sampler("stochastic"),
                ToyModel().start([ToyModel().vocabulary.encode(text)[:at]]).next_logits()[0][2:],
            )
        )
        for text in TEXTS
        for at in range(len(text.split()))
    ]
    assert human["teacher_forced"]["model_entropy"]["mean"] == pytest.approx(sum(entropies) / 17)


def test_human_texts_are_as_long_as_those_of_samplers():
    document = compare(reference=TEXTS, length=2)
    assert document["header"]["contexts"]["positions"] == 8


def test_words_outside_the_vocabulary_count_as_unknown_and_not_as_surprise():
    document = compare(reference=["the zebra sat", "the gnu"])
    assert document["reference"]["generated_texts"]["unknown"] == pytest.approx(2 / 5)
    assert document["reference"]["generated_texts"]["tokens"] == 3


def test_a_path_of_human_texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text)
    (tmp_path / "one.txt").write_text("\n".join(TEXTS))
    of_folder, of_file = (compare(reference=path) for path in (folder, tmp_path / "one.txt"))
    assert of_folder["samplers"] == of_file["samplers"]
    assert of_folder["header"]["contexts"]["positions"] == 17
    assert of_folder["header"]["contexts"]["description"] == "texts of texts"
    with pytest.raises(DataError, match="does not exist"):
        compare(reference=tmp_path / "no")


def reviews(home, model):
    """The reference of the model when the reviews were fetched."""
    for number, text in enumerate(TEXTS):
        for half in ("pos", "neg"):
            folder = home / "data" / "aclImdb" / "test" / half
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}_7.txt").write_text(text)
    return compare(["greedy"], model=model, n=1)["header"]["contexts"]


@pytest.mark.parametrize("name", ["fables.txt", "train.txt", "list", "folder"])
def test_texts_that_the_model_was_trained_on_are_noted(tmp_path, name):
    split = Corpus.of(TEXTS, 0.25)
    model = ToyModel()
    training = {"corpus": "fables.txt", "held_out": 0.25}
    training["texts_digest"] = Corpus.digest(split.train)
    whole, learned = tmp_path / "fables.txt", tmp_path / "train.txt"
    whole.write_text("\n".join(TEXTS))
    learned.write_text("\n".join(split.train))
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, text in enumerate(split.train):
        (folder / f"{i:03}.txt").write_text(text)
    given = {"fables.txt": whole, "train.txt": learned, "list": split.train, "folder": folder}[name]
    if name == "folder":
        training["corpus"] = "folder"
    model.manifest = {"training": training}
    options = {"n": 2, "length": 3}
    notes = corelm.compare(model, ["greedy"], reference=given, **options).to_dict()["warnings"]
    assert any("the model was trained on texts of the reference" in note for note in notes)
    for other in (split.held_out, [*split.train[1:], split.train[0]]):
        notes = corelm.compare(model, ["greedy"], reference=other, **options).to_dict()["warnings"]
        assert not any("was trained on" in note for note in notes)


def test_fetched_reviews_are_the_reference_of_a_model_of_reviews(home):
    assert reviews(home, ToyModel())["source"] == "model"
    model = ToyModel()
    model.manifest = {"training": {"corpus": "imdb"}}
    found = reviews(home, model)
    assert (found["source"], found["texts"]) == ("human", 8)
    assert found["description"] == "IMDB reviews that the model has not seen"


# The human row of a manifest


def human_row(n=64, length=100, **people):
    return compare(["greedy"], model=carrier(**people), n=n, length=length)["reference"]


def test_a_manifest_with_human_figures_gives_the_human_row():
    row = human_row()
    assert row["teacher_forced"]["model_entropy"]["mean"] == 1.2
    assert (row["teacher_forced"]["model_entropy"]["p05"], row["teacher_forced"]["n"]) == (
        0.5,
        1000,
    )
    assert row["generated_texts"]["n"] == 192
    assert row["generated_texts"]["distinct_1"] == 0.5
    assert row["generated_texts"]["ci95"]["distinct_1"] == [0.4, 0.6]
    assert row["generated_texts"]["perplexity"] == pytest.approx(math.exp(1.1))
    assert row["generated_texts"]["loops"] is None


def test_figures_of_other_amounts_of_text_are_left_out():
    fewer, shorter = human_row(n=10)["generated_texts"], human_row(length=50)["generated_texts"]
    assert (fewer["distinct_1"], fewer["rep_2"], fewer["surprisal"]) == (None, 0.25, 1.1)
    assert (shorter["distinct_1"], shorter["rep_2"], shorter["surprisal"]) == (None, None, 1.1)


@pytest.mark.parametrize(
    "people",
    [{"surprisal": "x"}, {"entropy": 5}, {"entropy": {"mean": "x", "band": [1]}}, {"sets": []},
     {"ci95": 5}, {"ci95": {"distinct_1": "x"}}, {"by_position": "x"}, {"by_position": [1]}],
)  # fmt: skip
def test_unusable_figures_of_a_manifest_are_ignored(people):
    row = human_row(n=1, **people)
    assert row is None or row["name"] == "human"


def test_a_difference_from_the_figures_of_a_manifest_has_the_error_of_both():
    model = carrier(ci95={"surprisal": [1.0, 1.2]})
    document = compare(["stochastic"], model=model, n=24, against="human")
    human, [row] = document["reference"]["generated_texts"], document["samplers"]
    own, found = row["generated_texts"], row["differences"]["generated_texts"]["surprisal"]
    assert found["value"] == pytest.approx(own["surprisal"] - human["surprisal"])
    low, high = found["ci95"]
    widths = [np.ptp(each["ci95"]["surprisal"]) for each in (own, human)]
    assert high - low == pytest.approx(np.hypot(*widths), rel=0.1)
