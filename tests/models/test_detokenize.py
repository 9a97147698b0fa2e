from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corelm.bundles import WordVocabulary
from corelm.models.word_vocabulary import STYLES, ProseWriter

split = STYLES["words+punctuation"].split

WRITTEN = {
    # spaces
    "a film": "A film",
    "so , yes ; no : maybe .": "So, yes; no: maybe.",
    "( a [ b { c } d ] e )": "(A [b {c} d] e)",
    "and / or well - made": "And/or well-made",
    "a \\ b me @ home snake _ case": "A\\b me@home snake_case",
    "$ 5 , # 1 , 90 %": "$5, #1, 90%",
    "a & b + c = d": "A & b + c = d",
    "*": "*",
    # dashes
    "good -- not great": "Good -- not great",
    "a --- b": "A---b",
    "-- a": "-- A",
    "a --": "A --",
    # marks that are several tokens stay several
    "well . . .": "Well. . .",
    "well ...": "Well...",
    "what ? !": "What?!",
    "no ! !": "No! !",
    # quotes: the first opens, the second closes
    'he said " yes " twice': 'He said "yes" twice',
    "the ' best ' one": "The 'best' one",
    '" a " and " b "': '"A" and "b"',
    "\" he said ' no ' . \"": "\"He said 'no'.\"",
    "( ' a ' )": "('A')",
    "isn't it": "Isn't it",
    # capitals: at the beginning, after a sentence, the word I
    "good . bad ! what ? yes": "Good. Bad! What? Yes",
    "well ... yes": "Well... yes",
    "what ?? yes !! no": "What?? Yes!! No",
    '" good . " " bad': '"Good." "Bad',
    "( good . ) bad": "(Good.) Bad",
    "so i am i'm i'd it is": "So I am I'm I'd it is",
    "10 of them": "10 of them",
    ". 10 of them": ". 10 of them",
    # the vocabulary keeps the capitals of other letters apart, so they are left alone
    "été": "été",
    "a . été": "A. été",
    "ß": "ß",
    "École": "École",
    # numbers
    "3 . 5 of 10 , 000 at 10 : 30": "3.5 of 10,000 at 10:30",
    "7 / 10": "7/10",
    "only 3 . then 5": "Only 3. Then 5",
    "1 , 2 , 30 and 4 : 5": "1, 2, 30 and 4: 5",
    "part 2 . good": "Part 2. Good",
    "1 ... 2": "1... 2",
    "": "",
}


def join(tokens: Iterable[str]) -> str:
    return "".join(map(ProseWriter().piece, tokens))


@pytest.mark.parametrize(("tokens", "text"), WRITTEN.items())
def test_tokens_are_written_as_a_person_would(tokens, text):
    assert join(tokens.split()) == text


@pytest.mark.parametrize("text", [text for text in WRITTEN.values() if text])
def test_written_text_is_cut_into_the_same_tokens(text):
    assert join(split(text)) == text


# Any text at all

FRAGMENTS = st.lists(
    st.sampled_from(
        [*".,:;!?'\"()[]$#%/-_ 35aiÉß\u0131\xa0\u0345", "--", "---", "...", " - ", "i'm"]
    )
).map("".join)
TEXTS = st.one_of(st.text(), FRAGMENTS)


def has_no_hyphen_between_hyphens(text):
    """Spaces on both sides would make a dash of it, and no space one token of all three."""
    hyphens = "".join("-" if token.startswith("-") else "." for token in split(text))
    return "---" not in hyphens


SETTLED = TEXTS.filter(has_no_hyphen_between_hyphens)


@pytest.mark.slow
@given(TEXTS)
def test_the_text_of_a_prefix_is_a_prefix_of_the_text(text):
    tokens = split(text)
    whole = join(tokens)
    assert all(whole.startswith(join(tokens[:i])) for i in range(len(tokens)))


@given(SETTLED)
@example("a. . .b- --c")
def test_the_tokens_of_any_text_written_and_cut_again_are_the_same(text):
    assert split(join(split(text))) == split(text)


@given(SETTLED)
def test_the_ids_of_any_text_decoded_and_encoded_are_the_same(text):
    words = sorted(set(split(text)))
    vocabulary = WordVocabulary(["", "[UNK]", *words], "words+punctuation")
    ids = vocabulary.encode(text)
    assert vocabulary.encode(vocabulary.decode(ids)) == ids


@given(st.lists(st.text(min_size=1)))
def test_any_tokens_can_be_written(tokens):
    """A model may draw tokens in an order that no text has."""
    letters = "".join(join(tokens).split()).lower()
    assert letters == "".join("".join(tokens).split()).lower()


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=30)
@given(written=st.sampled_from([*WRITTEN]), data=st.data())
def test_the_text_of_every_next_token_is_known_beforehand(style, written, data):
    words = sorted({word for text in WRITTEN for word in text.split()})
    vocabulary = WordVocabulary(["", "[UNK]", "[end]", *words], style)
    ids = [3 + words.index(word) for word in written.split()]
    ids = ids[: data.draw(st.integers(0, len(ids)))]
    before = vocabulary.decode(ids)
    whole = [vocabulary.decode([*ids, token]) for token in range(len(vocabulary))]
    assert [before + text for text in vocabulary.texts_after(ids)] == whole


@pytest.mark.parametrize("style", STYLES)
@given(text=SETTLED, skipped=st.integers(0, 40))
@example(text='he said " a good . b . c', skipped=6)
@example(text="it cost 1 , 000 dollars", skipped=4)
def test_a_writer_that_skips_a_prompt_writes_the_same_text_after_it(style, text, skipped):
    tokens = [word for word in text.split() if word]
    words = sorted({*tokens})
    vocabulary = WordVocabulary(["", "[UNK]", "[end]", *words], style)
    ids = [3 + words.index(word) for word in tokens]
    ids[1:1] = [2, 1, 0]
    write, after = vocabulary.writer(), vocabulary.writer()
    whole = [write(i) for i in ids]
    after.skip(ids[:skipped])
    other = after.fork()
    assert [after(i) for i in ids[skipped:]] == whole[skipped:]
    assert [other(i) for i in ids[skipped:]] == whole[skipped:]
