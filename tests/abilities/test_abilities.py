"""What sessions and vocabularies can do, and the defaults that stand in for it."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
from small_models import only_forward

import corelm
from corelm import abilities
from corelm.abilities import FullVocabulary, SessionWrapper, can
from corelm.abilities.optional import text_of
from corelm.registry.models import lifted
from corelm.testing import ToyModel, obeys_the_laws

TOY = ToyModel()
SESSION_ABILITIES = ("rewind", "join", "fork", "hidden_states")


class Wrapping:
    """A model whose sessions are wrapped, twice."""

    def __init__(self, model):
        self._model, self.vocabulary = model, model.vocabulary
        self.context_length = model.context_length
        self.next_token_distribution = model.next_token_distribution

    def start(self, tokens):
        return SessionWrapper(Noting(self._model.start(tokens)))


class Noting(SessionWrapper):
    """A session that notes what it gets."""

    def __init__(self, session):
        super().__init__(session)
        self.noted = 0

    def extend(self, tokens):
        self.noted += 1
        super().extend(tokens)


@obeys_the_laws(Wrapping(ToyModel()), tolerance=0)
def test_a_wrapped_session_obeys_the_laws(model, law):
    law(model)


@pytest.mark.parametrize("ability", SESSION_ABILITIES)
def test_a_wrapper_has_the_abilities_of_its_session_and_no_more(ability):
    assert can(SessionWrapper(Noting(TOY.start([[3]]))), ability)
    assert not can(SessionWrapper(Noting(only_forward(TOY).start([[3]]))), ability)


class Rewound(SessionWrapper):
    """A wrapper with an optional method of its own."""

    def rewind(self, count):
        self.dropped = count
        super().rewind(count)


def test_a_method_of_a_wrapper_exists_if_the_session_has_it():
    session = Rewound(TOY.start([[3, 4]]))
    session.rewind(1)
    assert session.dropped == 1
    assert np.array_equal(session.next_logits(), TOY.start([[3]]).next_logits())
    assert not can(Rewound(only_forward(TOY).start([[3]])), "rewind")


def test_a_session_without_logits_of_earlier_tokens_cannot_rewind():
    session = only_forward(TOY).start([[3]])
    session.rewind = lambda count: pytest.fail("nobody asks for it without the logits")
    assert not can(session, "rewind")


def test_a_fork_of_a_wrapper_is_such_a_wrapper_and_counts_by_itself():
    session = Noting(TOY.start([[3]]))
    session.extend(np.array([4]))
    other = session.fork()
    other.extend(np.array([5]))
    assert (type(other), other.noted, session.noted) == (Noting, 2, 1)
    assert np.array_equal(session.next_logits(), TOY.start([[3, 4]]).next_logits())


def test_wrapped_sessions_join_wrapped_ones_and_others():
    class Local(SessionWrapper):
        """A class of its own, as in a function that starts sessions."""

    session = Noting(TOY.start([[3]]))
    session.join(Local(Noting(TOY.start([[4, 5]]))))
    session.join(TOY.start([[6]]))
    assert np.array_equal(session.next_logits(), TOY.start([[3], [4, 5], [6]]).next_logits())


class Letters:
    """A vocabulary of bytes that declares no special tokens."""

    def __len__(self):
        return 256

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(ids).decode("utf-8", "replace")

    def token_bytes(self, token):
        return bytes([token])

    def token_name(self, token):
        return f"<{token}>"


class Uniform:
    vocabulary, context_length = Letters(), 10

    def next_token_distribution(self, tokens):
        return np.full((len(tokens), 256), 1 / 256)


def test_a_lifted_vocabulary_keeps_its_abilities():
    vocabulary = lifted(Uniform()).vocabulary
    assert can(vocabulary, "token_bytes")
    assert not can(vocabulary, "texts_after")
    assert FullVocabulary(vocabulary).token_name(65) == "<65>"
    assert len(copy.copy(vocabulary)) == 256
    with pytest.raises(AttributeError):
        vocabulary.writer  # noqa: B018


def test_a_writer_holds_back_a_part_of_a_character():
    write = FullVocabulary(lifted(Uniform()).vocabulary).writer()
    assert [write(byte) for byte in "aé".encode()] == ["a", "", "é"]


@pytest.mark.parametrize("skipped", range(11))
def test_a_writer_of_bytes_continues_any_prompt(skipped):
    vocabulary, text = lifted(Uniform()).vocabulary, list("aé€😀b".encode())
    whole = "".join(map(FullVocabulary(vocabulary).writer(), text))
    write = FullVocabulary(vocabulary).writer(text[:skipped])
    written = "".join(map(write, text[skipped:]))
    assert whole == "aé€😀b"
    assert whole.endswith(written)
    assert bytes(text[:skipped]).decode("utf-8", "ignore") + written == whole


@pytest.mark.parametrize("pieces", [[1], [2, 3], [40]])
def test_several_ids_have_the_text_that_they_add_one_by_one(pieces):
    rng, vocabulary = np.random.default_rng(7), lifted(Uniform()).vocabulary
    valid = "aé€😀b".encode() * 20
    for text in ([*valid], rng.integers(0, 256, 400).tolist(), rng.choice([*valid], 400).tolist()):
        one, several = FullVocabulary(vocabulary).writer(), FullVocabulary(vocabulary).writer()
        at = 0
        for size in itertools.cycle(pieces):
            part, at = text[at : at + size], at + size
            assert text_of(several, part) == "".join(map(one, part))
            if not part:
                break


def test_tokens_that_write_no_whole_character_have_names_of_their_own():
    class Pieces:
        """Tokens that decode to the same sign, or to nothing."""

        bytes_of = (b" \xe2\x80", b" \xc2", b"\xe7", b"", b" ok", "\ufffd".encode())
        ends = ()

        def decode(self, ids):
            return b"".join(self.bytes_of[token] for token in ids).decode("utf-8", "replace")

        def token_bytes(self, token):
            return self.bytes_of[token]

        def token_name(self, token):
            return "<|im_start|>" if token == 3 else None

    names = [*map(FullVocabulary(Pieces()).text_after([4]), range(6))]
    assert names == [" <0xE2><0x80>", " <0xC2>", "<0xE7>", "<|im_start|>", " ok", "\ufffd"]


def test_defaults_stand_in_for_what_a_vocabulary_lacks():
    class Plain:
        """The toy's vocabulary without its abilities."""

        padding = unknown = start = None
        ends = TOY.vocabulary.ends
        __len__ = lambda self: len(TOY.vocabulary)  # noqa: E731
        encode = staticmethod(TOY.vocabulary.encode)
        decode = staticmethod(TOY.vocabulary.decode)

    ids = TOY.vocabulary.encode("the cat sat")
    write = FullVocabulary(Plain()).writer()
    assert [write(i) for i in ids] == ["the", " cat", " sat"]
    assert [*map(FullVocabulary(Plain()).writer(ids[:1]), ids[1:])] == [" cat", " sat"]
    text_of = FullVocabulary(Plain()).text_after(ids[:1])
    assert [text_of(i) for i in (ids[1], 2)] == [" cat", "[end]"]
    assert FullVocabulary(Plain()).token_name(ids[1]) == "cat"
    assert FullVocabulary(Plain()).token_name(None) is None
    with pytest.raises(corelm.errors.UsageError, match="this model has no chat template"):
        abilities.FullVocabulary(Plain()).render_chat([{"role": "user", "content": "the"}])
