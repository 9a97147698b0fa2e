"""The default prompt of a model, the words it does not know, and what identifies it."""

from __future__ import annotations

import numpy as np
import pytest

import corelm
from corelm.abilities import FullVocabulary
from corelm.errors import ModelFileError, UsageError
from corelm.runs import ForcedTokens, NamedModel
from corelm.testing import ToyModel


@pytest.mark.parametrize(
    ("words", "stated", "prompt"),
    [
        (["This", "The", "film"], None, "The"),
        (["7", "?", "film", "movie"], None, "film"),  # the first word that is a word
        (["7", "?"], None, "The"),
        (["film"], "Dear reader", "Dear reader"),
        (["film"], "", ""),
        (["film"], 3, "film"),
    ],
)
def test_the_default_prompt(words, stated, prompt):
    model = ToyModel(words)
    if stated is not None:
        model.default_prompt = stated
    assert NamedModel(model).default_prompt == prompt


def test_the_default_prompt_of_a_vocabulary_that_refuses_unknown_text():
    class Letters:
        unknown = None

        def __len__(self):
            return 4

        def encode(self, text):
            if set(text) - set(" .ab"):
                raise UsageError("there are four letters")
            return [" .ab".index(letter) for letter in text]

        def decode(self, ids):
            return "".join(" .ab"[i] for i in ids)

    model = ToyModel()
    model.vocabulary = Letters()
    assert NamedModel(model).default_prompt == "a"


@pytest.mark.parametrize(
    ("prompts", "named"),
    [
        (["the cat", "the dog"], ""),
        ([], ""),
        (["the zebra", "the gnu and the zebra"], "'zebra', 'gnu'"),
        (["a b c d e f g h"], "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"),
        (["a b c d e f g h", " ".join(f"w{i}" for i in range(1200))],
         "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' and 1,200 more"),
    ],
)  # fmt: skip
def test_unknown_words_are_named_once(prompts, named):
    note = f"the model does not know {named}; it reads unknown words as [UNK]"
    assert NamedModel(ToyModel()).notes(prompts)[:1] == ([note] if named else [])


@pytest.mark.parametrize(("words", "seen"), [(99, None), (100, 51), (149, 100), (999, 100)])
def test_a_note_says_how_much_of_a_long_prompt_the_model_sees(words, seen):
    note = f"the prompt has {words:,} tokens, and the model sees the last {seen} of them"
    notes = NamedModel(ToyModel()).notes(["the cat", "the " * words])
    assert notes == ([f"{note}: its context is 100"] if seen else [])


def test_a_model_without_a_checksum_is_identified_by_its_files_or_its_distributions(tmp_path):
    words = [str(i) for i in range(14)]  # with the end, tokens 2 to 16 of which each is asked for
    table = np.zeros((17, 17))
    assert NamedModel(ToyModel(words, table)).fingerprint().startswith("distribution:")
    prints = {NamedModel(ToyModel(words, table)).fingerprint()}
    for token in range(2, 17):
        changed = table.copy()
        changed[token, 5] = 1
        prints.add(NamedModel(ToyModel(words, changed)).fingerprint())
    assert len(prints) == 16
    model, other = ToyModel(), ToyModel()
    for each, content in ((model, "a"), (other, "b")):
        (tmp_path / content).mkdir()
        each.files = [tmp_path / content / "weights"]
        each.files[0].write_text(content)
    assert NamedModel(model).fingerprint().startswith("files:")
    assert NamedModel(model).fingerprint() != NamedModel(other).fingerprint()
    other.files[0].write_text("a")
    assert NamedModel(model).fingerprint() == NamedModel(other).fingerprint()
    other.files[0].unlink()
    with pytest.raises(ModelFileError, match="weights' cannot be read: No such file"):
        NamedModel(other).fingerprint()
    model.manifest = {"checksum": "0" * 64}
    assert NamedModel(model).fingerprint() == "0" * 64
    model.manifest = {"checksum": 3}
    assert NamedModel(model).fingerprint() != 3


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [([2, 11, 4], [11, 4]), ("[end] the cat", [11, 4]), ([2], []), ("[end]", []), ([], []),
     ([2, 2, 11], [2, 11]), ([11, 2], [11, 2])],
)  # fmt: skip
def test_a_start_token_in_a_prompt_is_left_to_the_model(prompt, ids):
    """The model puts one there itself, and a second one makes another text."""
    started, bare = ToyModel(), ToyModel(end=False)
    assert FullVocabulary(started.vocabulary).prompt_ids(prompt) == ids
    if isinstance(prompt, list):
        assert FullVocabulary(bare.vocabulary).prompt_ids(prompt) == prompt
    texts = [
        corelm.generate(started, each, sampler="dry | stochastic", seed=1, n=3, length=8)
        for each in (prompt, ids)
    ]
    assert [text.tokens for text in texts[0]] == [text.tokens for text in texts[1]]
    distributions = [
        corelm.explain(started, each, "stochastic").stages[0].distribution for each in (prompt, ids)
    ]
    assert (distributions[0] == distributions[1]).all()


def test_a_scored_text_after_a_start_token():
    vocabulary = ToyModel().vocabulary
    assert ForcedTokens.split(vocabulary, "[end] the", " cat") == ([11], [4])
    assert ForcedTokens.split(vocabulary, "[end]", " the cat") == ([], [11, 4])


@pytest.mark.parametrize("name", ["gpt2", "imdb"])
def test_a_prompt_may_begin_with_the_name_of_the_start_token(name):
    model = corelm.load(name)
    vocabulary = model.vocabulary
    start = vocabulary.words[vocabulary.start]
    plain = FullVocabulary(vocabulary).prompt_ids("This movie")
    assert FullVocabulary(vocabulary).prompt_ids(f"{start}This movie") == plain
    assert FullVocabulary(vocabulary).prompt_ids(start) == []
    assert (
        FullVocabulary(vocabulary).prompt_ids(f"This movie{start}") != plain
    )  # within a text it is text
    assert NamedModel(model).notes([f"{start}This movie"]) == []
