"""The data of a training run: too little text, the prompt, rows."""

import pytest

pytest.importorskip("keras", reason="pip install keras tensorflow")

from corelm_train import TrainingSettings
from corelm_train.material import prepare
from corelm_train.progress import Reporter

from corelm.errors import DataError, TrainingError, UsageError

REVIEWS = ["This movie was good", "This movie was bad", "A film of notes", "this film"] * 10


class Warnings(Reporter):
    """Keeps the warnings."""

    def __init__(self):
        self.texts_of_warnings = []

    def warn(self, text):
        self.texts_of_warnings.append(text)


@pytest.fixture
def material(tmp_path):
    """Prepare texts for a preset; the reporter, if one is given, keeps the warnings."""

    def prepared(texts, preset="default", report=None, **changes):
        path = tmp_path / "texts.txt"
        path.write_text("\n\n".join(texts))
        values = {"context_length": 4, **changes}
        settings = TrainingSettings(str(path), tmp_path / "out", preset, **values)
        return prepare(settings, *settings.resolve(), None, report or Reporter())

    return prepared


@pytest.mark.parametrize("preset", ["book", "rnn"])
@pytest.mark.parametrize("texts", [["one line of text"], ["word"] * 50], ids=["line", "words"])
def test_too_little_text_is_refused_in_one_sentence(material, preset, texts):
    with pytest.raises((DataError, TrainingError), match="too short"):
        material(texts, preset)


def test_a_text_of_one_line_is_enough_where_texts_have_an_end(material):
    assert len(material(["one line of a few words and then one more"]).rows)


def test_packed_rows_need_more_than_one_context(material):
    with pytest.raises(TrainingError, match="together they need more than 99 tokens"):
        material(["one line of text"], context_length=99)


def test_an_empty_prompt_is_refused_where_texts_have_no_end_token(material):
    assert material(REVIEWS, prompt="").prompt == ""
    with pytest.raises(UsageError, match="the prompt is empty"):
        material(REVIEWS, "rnn", prompt="")


def test_words_of_the_prompt_that_the_vocabulary_lacks_are_named(material):
    report = Warnings()
    material(REVIEWS, report=report, prompt="This novel has a plot: This plot")
    assert report.texts_of_warnings == [
        "the prompt has words that the vocabulary lacks: 'novel', 'has', 'plot', ':'"
    ]


def test_the_default_prompt_is_a_frequent_opening_of_the_corpus(material):
    report = Warnings()
    assert material(REVIEWS, report=report).prompt == "This movie"
    assert report.texts_of_warnings == []


def test_an_opening_needs_words_that_the_vocabulary_has(material):
    texts = [f"word{i} word{i + 1} the the the" for i in range(40)]
    assert material(texts, "rnn", vocabulary_size=3).prompt == "the"
