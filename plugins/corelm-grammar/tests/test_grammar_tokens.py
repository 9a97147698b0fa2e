"""A constraint allows exactly the tokens that its definition does, by enumeration."""

import gc
import weakref

import numpy as np
import pytest
from corelm_grammar import Choice, Regex
from corelm_grammar.states import States
from corelm_grammar.tokens import MOST_VOCABULARIES, reader_of
from grammar_models import Bytes, Written

import corelm
from corelm.testing import ToyModel

PIECES = [b"a", b"b", b"ab", b" ", b" a", "é".encode(), b"\xc3", b"\xa9", b"<", b"ab"]


def allowed(sampler, vocabulary, ids, prompt=0):
    """The ids that a sampler leaves possible after a text."""
    context = corelm.Context.of([ids], prompt_length=prompt, vocabulary=vocabulary)
    result = sampler(np.zeros((1, len(vocabulary))), context)
    return np.flatnonzero(result[0] > -np.inf).tolist()


def continuations(vocabulary, ids, prompt, words, has_space=True):
    """The definition: tokens with which the text is a beginning of a word, ends after whole ones.

    A token of a vocabulary of words must also have a continuation itself.
    """
    forms = {*words, *(" " + word for word in words if has_space)}
    before = _text(vocabulary, ids[:prompt])

    def is_alive(more):
        text = _text(vocabulary, more)[len(before) :]
        if text in forms:
            return True
        return any(form.startswith(text) for form in forms) and any(
            is_alive([*more, token])
            for token in range(len(vocabulary))
            if len(_text(vocabulary, [*more, token])) > len(before) + len(text)
        )

    here = _text(vocabulary, ids)[len(before) :]
    found = [*vocabulary.ends] if here in forms else []
    for token in range(len(vocabulary)):
        longer = len(_text(vocabulary, [*ids, token])) > len(before) + len(here)
        if longer and is_alive([*ids, token]):
            found.append(token)
    return sorted(found)


def _text(vocabulary, ids):
    if hasattr(vocabulary, "token_bytes"):
        return b"".join(map(vocabulary.token_bytes, ids)).decode("latin-1")
    return vocabulary.decode(ids)


@pytest.mark.parametrize("ends", [1, 3])
@pytest.mark.parametrize("ids", [[], [0], [4], [2], [3], [5], [3, 0], [6], [0, 1, 8]])
def test_a_token_of_bytes_is_allowed_if_some_choice_continues_with_it(ids, ends):
    vocabulary = Bytes(PIECES, ends)
    words = ("ab", "abé", "a b", "é", "<ab")
    bytewise = [word.encode().decode("latin-1") for word in words]
    expected = continuations(vocabulary, ids, 0, bytewise) or [*range(len(vocabulary))]
    assert allowed(Choice(words=words), vocabulary, ids) == expected


@pytest.mark.parametrize("prompt", ["", "a good film", "a film .", 'a "'])
@pytest.mark.parametrize("drawn", ["", "good", "a", '"', '" a "', "a good ."])
def test_a_word_is_allowed_if_it_is_written_as_some_choice_continues(prompt, drawn):
    vocabulary = Written().vocabulary
    start = vocabulary.encode(prompt)
    ids = [*start, *vocabulary.encode(drawn)]
    words = ("good film", "Good.", '"a" film', "a good. Bad", "1", "A good. Film", "tt")
    expected = continuations(vocabulary, ids, len(start), words)
    sampler = Choice(words=words)
    if expected:
        assert allowed(sampler, vocabulary, ids, len(start)) == expected
    elif any(_text(vocabulary, ids)[len(_text(vocabulary, start)) :].strip() in w for w in words):
        with pytest.raises(corelm.CorelmError, match="no token of this vocabulary continues"):
            allowed(sampler, vocabulary, ids, len(start))


def test_the_step_has_the_models_distribution_over_the_allowed_tokens():
    model = ToyModel()
    [step] = corelm.stream(model, "the", sampler=Choice(words=["cat", "dog", "unheard"]), length=1)
    p = model.next_token_distribution([model.vocabulary.encode("the")])[0].astype(float)
    cat, dog = model.vocabulary.encode("cat dog")
    assert step.distribution[0, cat] == pytest.approx(p[cat] / (p[cat] + p[dog]), rel=1e-6)
    assert step.distribution[0, dog] == pytest.approx(p[dog] / (p[cat] + p[dog]), rel=1e-6)


def test_ends_are_allowed_where_the_text_matches_and_nowhere_else():
    vocabulary = Bytes([b"a", b"b"], ends=2)
    assert allowed(Regex(pattern="ab?", space=False), vocabulary, []) == [0]
    assert allowed(Regex(pattern="ab?", space=False), vocabulary, [0]) == [1, 3, 4]
    assert allowed(Regex(pattern="ab?", space=False), vocabulary, [0, 1]) == [3, 4]


def test_a_complete_text_that_no_token_ends_is_refused():
    vocabulary = Bytes([b"a", b"b"], ends=0)
    with pytest.raises(corelm.CorelmError, match="'a' is complete, and this model has no token"):
        allowed(Regex(pattern="a"), vocabulary, [0])
    assert allowed(Regex(pattern="a+"), vocabulary, [0]) == [0]


def test_a_text_that_left_the_grammar_is_not_constrained():
    vocabulary = Bytes([b"a", b"b"])
    everything = [0, 1, 2, 3]
    assert allowed(Regex(pattern="a+"), vocabulary, [1]) == everything
    assert allowed(Regex(pattern="a+"), vocabulary, [0, *vocabulary.ends]) == everything


def test_every_way_to_write_a_text_in_tokens_is_allowed():
    vocabulary = Bytes([b"a", b"b", b"ab", b"abc", b"c"])
    assert allowed(Regex(pattern="abc", space=False), vocabulary, []) == [0, 2, 3]


def test_a_vocabulary_without_texts_is_refused():
    class Opaque:
        padding, unknown, start, ends = None, None, None, ()

        def __len__(self):
            return 2

    with pytest.raises(corelm.CorelmError, match="Opaque does not say which text each token adds"):
        allowed(Regex(pattern="a"), Opaque(), [])
    with pytest.raises(corelm.CorelmError, match="needs the texts of the tokens"):
        corelm.sampling_distribution(Regex(pattern="a"), [0.0, 0.0])


def test_logits_wider_than_the_vocabulary_have_no_more_tokens():
    vocabulary = Bytes([b"a", b"b"])
    context = corelm.Context.of([[]], vocabulary=vocabulary)
    result = Regex(pattern="a")(np.zeros((1, 9), np.float32), context)
    assert result.dtype == np.float32
    assert np.flatnonzero(result[0] > -np.inf).tolist() == [0]


def test_a_state_is_the_same_however_it_was_reached(monkeypatch):
    """A fold over bytes: forgetting states, or reading the text at once, changes nothing."""
    texts = reader_of(Bytes([b"a", b"b", b"ab"]))([], 0).texts
    grammar = Regex(pattern="(a|ab)*b{2}")._grammar
    text = b"aabababb"
    step_by_step = States(texts, grammar)
    masks = [step_by_step.after(text[:n]).mask.tolist() for n in range(len(text) + 1)]
    assert [States(texts, grammar).after(text[:n]).mask.tolist() for n in range(9)] == masks
    monkeypatch.setattr("corelm_grammar.states.REMEMBERED_TEXTS", 1)
    forgetful = States(texts, grammar)
    backwards = [forgetful.after(text[:n]).mask.tolist() for n in reversed(range(9))]
    assert backwards[::-1] == masks


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [lambda: Bytes(PIECES), lambda: ToyModel().vocabulary])
def test_what_belongs_to_a_vocabulary_goes_when_others_come(vocabulary):
    first = vocabulary()
    allowed(Regex(pattern="the cat|a"), first, [])
    tokenizer_owner = weakref.ref(reader_of(first)([], 0).texts)
    gone = weakref.ref(first)
    del first
    for _ in range(MOST_VOCABULARIES):
        reader_of(vocabulary())
    gc.collect()
    assert (gone(), tokenizer_owner()) == (None, None)
