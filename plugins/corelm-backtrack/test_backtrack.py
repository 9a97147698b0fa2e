"""Backtracking: what it takes back, and the distribution that it draws from."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from corelm_backtrack import Backtrack
from small_models import only_forward

import corelm
from corelm.testing import LAWS, ToyModel, g_test, obeys_the_laws, text_probabilities

WORDS = ["a", "b", "c"]


def small_model(end=True):
    """A model of three words, each of which is followed by some more often than by others."""
    size = len(WORDS) + 2 + end
    return ToyModel(WORDS, np.random.default_rng(3).normal(size=(size, size)), end=end)


def texts(decoder, model=None, prompt="the", sampler="greedy", length=6, n=1, seed=1, **options):
    return corelm.generate(
        model or ToyModel(), prompt, sampler=sampler, length=length, n=n, seed=seed,
        decoder=decoder, **options,
    )  # fmt: skip


# What is taken back


@pytest.mark.parametrize(
    ("banned", "patterns", "expected"),
    [
        ((), (), " cat sat on the cat sat"),
        (("dog",), (), " cat sat on the cat sat"),
        (("sat",), (), " cat and the cat and the"),
        ((" sat on",), (), " cat and the cat and sat"),  # also behind "and"
        (("sat on the",), (), " cat and the cat sat on"),
        (("SAT ON",), (), " cat and the cat and sat"),
        (("t sat",), (), " dog"),  # begins in "cat"; the text ends after "dog"
        ((), ("s.t",), " cat and the cat and the"),
        ((), (r"\bon\b", "zebra"), " cat sat"),
        (("cat",), ("d.g",), " mat"),
    ],
)
def test_greedy_takes_the_next_likeliest_token_where_a_banned_text_begins(
    banned, patterns, expected
):
    [text] = texts(Backtrack(banned=banned, patterns=patterns))
    assert text.text == expected


def test_case_counts_if_asked():
    [text] = texts(Backtrack(banned=("SAT",), ignore_case=False), length=3)
    assert text.text == " cat sat on"


def test_the_prompt_is_not_searched():
    [text] = texts(Backtrack(banned=("the cat sat",)), length=2)
    assert text.text == " cat sat"


def test_nothing_banned_is_left_in_any_text():
    decoder = Backtrack(banned=("cat sat", "the dog"), patterns=(r"on the \w+ sat", r"(\w)\w+ \1"))
    results = texts(decoder, sampler="stochastic", n=40, length=15)
    assert not any(
        re.search(r"cat sat|the dog|on the \w+ sat|(\w)\w+ \1", text.text) for text in results
    )
    assert {text.finish_reason for text in results} == {"end", "length"}


def test_the_redrawn_token_has_the_distribution_without_those_taken_out():
    model = ToyModel(WORDS, logits=np.log([1, 1, 0.5, 0.3, 0.2]), end=False)
    [text] = texts(Backtrack(banned=("a",)), model, prompt="b", sampler="stochastic", length=30)
    assert set(text.tokens) == {3, 4}
    redrawn = [step for step in text.steps if step.entropy < 0.9]
    assert 5 < len(redrawn) < 25
    for step in redrawn:
        p = 0.6 if step.token == 3 else 0.4
        assert step.surprisal == pytest.approx(-np.log(p))
        assert step.model_surprisal == pytest.approx(-np.log(p / 2))


# Its work is bounded


def test_a_place_without_another_token_is_given_up(caplog):
    with caplog.at_level("INFO", "corelm.backtrack"):
        [text] = texts(Backtrack(patterns=("[ab]",)), ToyModel(["a", "b"], end=False), length=3)
    assert text.text == " a a a"
    assert caplog.messages[0] == "backtrack: redraws: 6; tokens taken back: 6"
    assert caplog.messages[1].startswith(
        "backtrack: places given up, at which banned text may begin: 3;"
    )


def test_a_place_is_given_up_after_the_largest_number_of_redraws(caplog):
    model = ToyModel(list("abcdefgh"), logits=-np.arange(10.0), end=False)
    [text] = texts(Backtrack(patterns=(r"\w",), redraws=3), model, length=2)
    assert text.text == " a a"
    assert caplog.messages[-1].startswith(
        "backtrack: places given up, at which banned text may begin: 2;"
    )


def test_a_sampler_that_leaves_no_token_gives_the_place_up():
    class OnlyA(corelm.Sampler):
        """Keep the token a."""

        def __call__(self, logits, context):
            return corelm.mask_logits(logits, np.arange(logits.shape[-1]) == 2)

    [text] = texts(Backtrack(banned=("a",)), ToyModel(["a", "b"], end=False), sampler=OnlyA())
    assert text.text == " a a a a a a"


def test_the_number_of_draws_is_bounded():
    """Patterns that begin everywhere and end late: each place is drawn again at most twice."""
    drawn = []

    class Counts(corelm.Sampler):
        def __call__(self, logits, context):
            drawn.append(context.position)
            return logits.copy()

    decoder = Backtrack(patterns=(r"\w( \w){3}", r"\w \w", "[ab] "), redraws=2)
    texts(decoder, small_model(end=False), prompt="a", sampler=Counts(), length=30)
    returns = 30 * (2 + 1)
    assert len(drawn) <= 30 + returns * 4


# Random numbers


def test_until_a_banned_text_appears_a_text_is_that_of_ancestral_sampling():
    decoder = Backtrack(banned=("cat sat",))
    plain, results = (texts(d, sampler="stochastic", n=64, length=12) for d in (None, decoder))
    same = [a.steps == b.steps for a, b in zip(plain, results, strict=True)]
    assert same == ["cat sat" not in text.text for text in plain]
    assert 3 < same.count(False) < 40


@pytest.mark.parametrize("model", [ToyModel(), corelm.load("imdb")], ids=["toy", "imdb"])
def test_a_session_that_cannot_go_back_writes_the_same_text(model):
    options = {"sampler": "temperature(t=0.9)", "n": 3, "length": 20}
    decoder = Backtrack(banned=("cat", "movie", " is", "."))
    results = [texts(decoder, each, **options) for each in (model, only_forward(model))]
    assert results[0] == results[1]


# The distribution


def exact(model, sampler, length, first_banned):
    """Return the probability of every text, by the definition in the README.

    Args:
        first_banned: a function from the words of a text to the first word with which a banned
            text begins, or None.
    """
    ends, impossible = model.vocabulary.ends, [0, 1]

    def q(text, without):
        logits = np.array(model.start([text]).next_logits())
        logits[:, [*impossible, *without]] = -np.inf
        return corelm.sampling_distribution(sampler, logits, [text])[0]

    def outcomes(text):
        """Return the probabilities of texts, and of going back to an earlier place."""
        drawn = text[1:]
        if (place := first_banned([WORDS[token - 3] for token in drawn if token > 2])) is not None:
            return {place: 1.0}
        if len(drawn) == length or (drawn[-1:] and drawn[-1] in ends):
            return {tuple(drawn): 1.0}
        results, taken_out = defaultdict(float), {(): 1.0}
        while taken_out:
            without = min(taken_out, key=len)
            p = taken_out.pop(without)
            for token in np.flatnonzero(probabilities := q(text, without)).tolist():
                for outcome, chance in outcomes([*text, token]).items():
                    weight = p * probabilities[token] * chance
                    if outcome == len(drawn):
                        more = tuple(sorted((*without, token)))
                        taken_out[more] = taken_out.get(more, 0.0) + weight
                    else:
                        results[outcome] += weight
        return results

    return outcomes([3])


def first_of(*phrases):
    """Return a function from words to the first word with which one of these phrases begins."""

    def first(words):
        places = range(len(words))
        return next(
            (i for i in places for p in phrases if words[i : i + len(p.split())] == p.split()), None
        )

    return first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phrases", "sampler", "differs"),
    [
        (("a",), "stochastic", True),
        (("b c", "c c a"), "temperature(t=1.5)", False),  # by too little for so few texts
        (("a b", "b c c"), "top_k(k=2)", True),
        (("b b",), "repetition_penalty(penalty=1.5)", False),
    ],
)
def test_texts_have_the_probabilities_of_the_definition(phrases, sampler, differs):
    model, chosen = small_model(), corelm.sampler(sampler)
    expected = exact(model, chosen, 4, first_of(*phrases))
    assert sum(expected.values()) == pytest.approx(1)
    decoder = Backtrack(banned=phrases)
    results = texts(decoder, model, prompt="a", sampler=chosen, length=4, n=2000, seed=2)
    counts = Counter(tuple(text.tokens) for text in results)
    assert g_test(counts, expected) > 1e-3
    # The sampler's probabilities, given that nothing banned appears, differ.
    plain = text_probabilities(model, "a", sampler=chosen, length=4)
    allowed = {text: p for text, p in plain.items() if text in expected}
    given = {text: p / sum(allowed.values()) for text, p in allowed.items()}
    assert (g_test(counts, given) < 1e-6) == differs


# Streams, laws, installation


def test_a_step_is_yielded_when_it_can_no_longer_be_taken_back():
    drawn, yielded = [], []

    class Sees(corelm.Sampler):
        def __call__(self, logits, context):
            drawn.append(len(yielded))
            return corelm.apply_temperature(logits, 0)

    decoder = Backtrack(banned=("sat on a",))
    for step in corelm.stream(ToyModel(), "the", sampler=Sees(), length=6, decoder=decoder, seed=1):
        yielded.append(step.text)
    assert yielded == [" cat", " sat", " on", " the", " cat", " sat"]
    # The number of steps yielded before each draw: "sat on" is held back until "the" follows.
    assert drawn == [0, 1, 1, 1, 4, 5]


def test_a_step_is_held_back_while_a_return_behind_it_could_change_what_follows():
    """In "a a a", a "b" takes back the last "a", and then the next "b" the one before."""
    model = ToyModel(["a", "b"], logits=[0, 0, 2, 0], end=False)
    yielded = []

    class Sees(corelm.Sampler):
        def __call__(self, logits, context):
            assert len(yielded) == 0
            return logits.copy()

    decoder = Backtrack(banned=("a b",))
    for step in corelm.stream(
        model, "b", sampler=Sees(), length=9, decoder=decoder, sample=2, seed=1
    ):
        yielded.append(step.text)
    assert "".join(yielded) == " a a a a a a a a a"


@obeys_the_laws(Backtrack(), Backtrack(banned=("zebra",)))
def test_law(decoder, law):
    law(decoder)


@pytest.mark.parametrize(
    "law", [law for law in LAWS["decoder"] if law.__name__ != "reports_what_it_drew_from"]
)
def test_law_with_banned_texts(law):
    """A step has the model's own logits, but the sampler's without the tokens taken out."""
    law(Backtrack(banned=("a b", "c"), redraws=1000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"banned": ("",)}, "needs at least one character"),
        ({"patterns": ("(",)}, "is not valid: missing"),
        ({"redraws": 0}, "redraws must be at least 1, not 0"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(corelm.errors.UsageError, match=message):
        Backtrack(**options)
