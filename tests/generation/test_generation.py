"""Texts: the same seed gives the same text, alone and in any company."""

from __future__ import annotations

import math

import numpy as np
import pytest

import corelm
from corelm.errors import SamplerError, UsageError
from corelm.runs import Strategy, Texts
from corelm.testing import ToyModel

MODEL = ToyModel()
ENDLESS = ToyModel(end=False)
STOCHASTIC = Strategy.of("stochastic")


def generate(prompt="the", model=MODEL, sampler="stochastic", **options):
    options.setdefault("seed", 1)
    return corelm.generate(model, prompt, sampler=sampler, **options)


def streamed(prompt="the", model=MODEL, sampler="stochastic", **options):
    options.setdefault("seed", 1)
    return list(corelm.stream(model, prompt, sampler=sampler, **options))


# generate


def test_a_model_may_be_given_by_name():
    [text] = corelm.generate("imdb", "This movie", sampler="greedy", length=3)
    loaded = corelm.load("imdb")
    assert text == generate("This movie", loaded, sampler="greedy", length=3, seed=text.seed)[0]
    drawn = corelm.stream("imdb", "This movie", sampler="greedy", length=3)
    assert "".join(step.text for step in drawn) == text.text


def test_a_text_continues_its_prompt():
    [text] = generate(sampler="greedy", length=3)
    assert text.text == " cat sat on"
    assert text.tokens == [4, 9, 7]
    assert (text.prompt, text.sample, text.seed) == ("the", 0, 1)


@pytest.mark.parametrize(
    "sampler",
    ["greedy", "temperature(t=inf)", "top_p(p=0)", "top_k(k=1)", "typical(p=0.5)", "mirostat",
     "min_p(p=1)", "top_h(h=0.5)", "eta", "xtc(probability=1)", "top_n_sigma(n=0)",
     "dynamic_temperature(t_min=0, t_max=2)", "edt", "repetition_penalty(penalty=2)",
     "no_repeat_ngram(n=1)", "adaptive_p", "dry(multiplier=2)"],
)  # fmt: skip
def test_a_vocabulary_of_one_word_leaves_no_choice(sampler):
    [text] = generate("a", ToyModel(["a"], end=False), sampler, length=3)
    assert text.text == " a a a"


def test_without_a_prompt_a_text_begins():
    [text] = generate("", sampler="greedy", length=2)
    assert text.text == "the cat"


def test_every_token_has_its_record():
    [text] = generate(sampler="greedy", length=2)
    first, second = text.steps
    assert (first.token, first.text, first.surprisal, first.entropy) == (4, " cat", 0.0, 0.0)
    # After "the", of eleven tokens in play "cat" has 5.1 in 12.3 - 0.2 = 12.1.
    assert first.model_surprisal == pytest.approx(math.log(12.1 / 5.1), rel=1e-5)
    p = np.array([5.1, 4.1, 2.1, *[0.1] * 8]) / 12.1
    assert first.model_entropy == pytest.approx(-(p @ np.log(p)), rel=1e-5)
    assert second.text == " sat"
    assert "".join(step.text for step in text.steps) == text.text


def test_several_texts_are_numbered():
    texts = generate(n=5, length=4)
    assert [text.sample for text in texts] == [0, 1, 2, 3, 4]
    assert len({text.text for text in texts}) > 1


def test_the_text_of_a_sample_is_the_same_alone_in_a_batch_and_streamed():
    together = generate(n=64, length=20)
    for i in (0, 1, 7, 63):
        alone = Texts("the", STOCHASTIC, length=20, n=1, seed=1).steps(MODEL, (i,))
        assert [int(step.tokens[0]) for step in alone] == together[i].tokens
        shown = "".join(step.text for step in streamed(length=20, sample=i))
        assert shown == together[i].text


def test_samples_may_come_in_any_order():
    texts = Texts("the", STOCHASTIC, length=9, n=2, seed=1)
    forwards, backwards = texts.steps(ENDLESS, (3, 5)), texts.steps(ENDLESS, (5, 3))
    for one, other in zip(forwards, backwards, strict=True):
        assert one.tokens.tolist() == other.tokens[::-1].tolist()


def test_each_prompt_has_random_numbers_of_its_own():
    texts = Texts("", STOCHASTIC, length=9, n=1, seed=1).of_prompts(["the", "the"])
    assert [each.prompt_index for each in texts] == [0, 1]


def test_samplers_share_their_random_numbers():
    assert generate(sampler="stochastic", n=9) == generate(sampler="temperature(t=1)", n=9)


def test_a_fresh_seed_is_drawn_and_reported():
    one, two = (corelm.generate(MODEL, "the", sampler="stochastic", n=2) for _ in range(2))
    assert one[0].seed == one[1].seed != two[0].seed
    assert generate(n=2, seed=one[0].seed) == one


@pytest.mark.parametrize("seed", [0, 2**63, 2**100])
def test_any_seed_from_zero(seed):
    assert generate(seed=seed, length=5) == generate(seed=seed, length=5)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_any_other_seed_is_refused(seed):
    with pytest.raises(UsageError, match="the seed must be a whole number of at least 0, not"):
        generate(seed=seed)


def test_length_zero_and_no_texts():
    [text] = generate(length=0)
    assert (text.text, text.tokens, text.steps) == ("", [], [])
    assert generate(n=0) == []
    assert streamed(length=0) == []


@pytest.mark.parametrize("value", [-1, 2.5, "3", None, True])
def test_any_other_count_is_refused(value):
    with pytest.raises(UsageError, match="length must be a whole number of at least 0, not"):
        generate(length=value)
    with pytest.raises(UsageError, match="n must be a whole number of at least 0, not"):
        generate(n=value)


def test_a_text_ends_with_its_end_token_which_is_not_shown():
    texts = generate(n=40, length=60)
    ended = [text for text in texts if text.tokens[-1] == MODEL.vocabulary.start]
    assert len(ended) > 30
    for text in ended:
        assert text.tokens.count(MODEL.vocabulary.start) == 1
        assert "[end]" not in text.text
        assert text.steps[-1].text == ""


def test_a_step_has_one_array_of_logits_where_the_sampler_changes_nothing():
    class Unchanged(corelm.Sampler):  # of another package, so that it gets a copy
        def __call__(self, logits, context):
            return logits

    one, other = next(iter(streamed())), next(iter(streamed(sampler=Unchanged())))
    assert one.logits is one.model_logits
    assert np.array_equal(other.logits, one.logits)
    assert not one.logits.flags.writeable
    assert one.entropy.tolist() == other.entropy.tolist() == one.model_entropy.tolist()
    assert next(iter(streamed(sampler="temperature(t=0.5)"))).entropy < one.entropy


def test_a_sampler_that_restores_padding_is_named():
    class Restores(corelm.Sampler):
        def __call__(self, logits, context):
            return np.zeros_like(logits) if context.position == 2 else logits

    with pytest.raises(
        SamplerError,
        match=r"^restores restored token [01], .* at step 2(, row \d+)?; pass the result",
    ) as e:
        generate(sampler=Restores(), n=64, model=ENDLESS)
    assert {len(text.tokens) for text in e.value.generations} == {2}


@pytest.mark.parametrize(
    "prompt", ["flew away", "\0 \x1b[2J", "مرحبا", "🎬", "<script>", "the " * 10_000]
)
def test_any_prompt_is_gone_on_from(prompt):
    [text] = generate(prompt, model=ENDLESS, length=2)
    assert len(text.tokens) == 2
    assert text.prompt == prompt


# Why a text ended


class Fails(corelm.Sampler):
    """Take the most likely token, and raise at step 2."""

    def __call__(self, logits, context):
        if context.position == 2:
            raise RuntimeError("no")
        return corelm.apply_temperature(logits, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"length": 3}, "length"),
        ({"length": 3, "stop": "sat"}, "stop"),
        ({"length": 3, "stop": "sat on"}, "stop"),  # with the last token
        ({"length": 3, "stop": "sat on!"}, "length"),
        ({"length": 0}, "length"),
        ({"prompt": "under the mat", "length": 1}, "end"),
    ],
)
def test_a_text_says_why_it_ended(options, expected):
    [text] = generate(sampler="greedy", **options)
    assert text.finish_reason == expected
    reasons = [step.finish_reason for step in streamed(sampler="greedy", **options)]
    assert reasons == [None] * (len(text.tokens) - 1) + [expected] * bool(text.tokens)


def test_texts_of_one_batch_end_for_different_reasons():
    texts = generate(n=64, length=5, stop="saw")
    assert {text.finish_reason for text in texts} == {"end", "length", "stop"}
    for text in texts:
        ended = text.tokens[-1] == MODEL.vocabulary.start
        assert (text.finish_reason == "end") == ended
        assert (text.finish_reason == "length") <= (len(text.tokens) == 5)


def test_texts_that_have_all_ended_or_stopped_ask_for_no_more_tokens():
    drawn = []

    class Counts(corelm.Decoder):
        def __call__(self, task):
            for step in corelm.Ancestral()(task):
                drawn.append(step.position)
                yield step

    ends_or_goes_on = ToyModel(["a", "b"], logits=[0, 0, 9, 9, -9], end=True)
    texts = generate("a", ends_or_goes_on, n=9, length=30, stop="a", decoder=Counts())
    assert {text.finish_reason for text in texts} == {"end", "stop"}
    assert len(drawn) == max(len(text.tokens) for text in texts) < 30


def test_an_exception_has_the_texts_so_far():
    with pytest.raises(SamplerError, match="failed at step 2: RuntimeError: no") as caught:
        generate(sampler=Fails())
    [text] = caught.value.generations
    assert (text.text, text.finish_reason, len(text.steps)) == (" cat sat", "error", 2)
    with pytest.raises(SamplerError) as caught:
        streamed(sampler=Fails(), stop="sat on")
    assert caught.value.generations[0].text == " cat sat"


def test_the_exception_of_a_later_batch_has_the_earlier_texts():
    class Second(corelm.Sampler):
        """Raise in the second batch, which is smaller."""

        def __call__(self, logits, context):
            if len(logits) < 64 and context.position == 1:
                raise RuntimeError("no")
            return corelm.apply_temperature(logits, 0)

    with pytest.raises(SamplerError) as caught:
        generate(n=66, sampler=Second(), length=2)
    reasons = [text.finish_reason for text in caught.value.generations]
    assert reasons == ["length"] * 64 + ["error"] * 2


# Stop strings


def test_a_text_stops_before_the_first_stop_string():
    [text] = generate(sampler="greedy", length=9, stop=["the", "on"])
    assert text.text == " cat sat "
    assert text.tokens == [4, 9, 7]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("sat on", " cat "),
        ("t on the c", " cat sa"),
        (["mat"], " cat sat on the cat sat on the"),
        ("cat", " "),
        (["at", "cat"], " "),
        (" cat", ""),
        (" ", ""),
        ([], " cat sat on the cat sat on the"),
        ("the dog", " cat sat on the cat sat on the"),
        ("on the!", " cat sat on the cat sat on the"),
        ("xyzs", " cat sat on the cat sat on the"),  # one string, not four characters
    ],
)
def test_stop_strings_across_tokens_are_neither_written_nor_shown(stop, expected):
    options = {"sampler": "greedy", "length": 8, "stop": stop}
    [text] = generate(**options)
    assert text.text == expected
    assert "".join(step.text for step in streamed(**options)) == expected


def test_an_empty_stop_string_is_refused():
    with pytest.raises(UsageError, match="a stop string needs at least one character"):
        generate(stop=[""])


# stream


def test_a_stream_can_be_left():
    stream = corelm.stream(ENDLESS, "the", sampler="stochastic", length=10**9, seed=1)
    assert len([next(stream) for _ in range(5)]) == 5
    stream.close()


@pytest.mark.parametrize("stop", [(), "the c", "on", "t s", ["dog", "cat sat"]])
def test_the_streamed_pieces_are_the_text(stop):
    for i in range(20):
        shown = streamed(sample=i, length=10, stop=stop)
        assert (
            "".join(step.text for step in shown) == generate(n=i + 1, length=10, stop=stop)[i].text
        )


def test_observers_see_the_samples_of_the_run(register):
    """Texts are decoded in batches of 64, and each step names the samples of the whole run."""
    seen = set()

    class Observer:
        @corelm.hookimpl
        def corelm_next_token(self, step):
            seen.update(step.samples.tolist())

    register(Observer())
    corelm.generate(ToyModel(), "the", sampler="greedy", n=130, length=2, seed=1)
    assert seen == set(range(130))


def test_a_stream_names_its_sample():
    steps = corelm.stream(ToyModel(), "the", sampler="greedy", sample=7, length=2, seed=1)
    assert [step.samples.tolist() for step in steps] == [[7], [7]]


@pytest.mark.packages
def test_arguments_of_a_wrong_type_are_named():
    with pytest.raises(UsageError, match=r"a decoder is an object such as .*, not 3"):
        generate(decoder=3)
    for prompt in (None, 5, ["the"]):
        with pytest.raises(UsageError, match=r"a prompt is a text, not "):
            generate(prompt)
        with pytest.raises(UsageError, match=r"a prompt is a text, not "):
            corelm.explain(MODEL, prompt, "greedy")
        with pytest.raises(UsageError, match=r"prompts? (is a|are) texts?, not "):
            corelm.compare(MODEL, ["greedy"], prompts=[prompt])


class Last:
    """A model that looks for the last token: at once, or when it is asked for logits."""

    context_length = 8

    def __init__(self, late):
        self.vocabulary, self.late = ToyModel().vocabulary, late

    def start(self, tokens):
        if not self.late:
            tokens[:, -1]
        self.tokens = tokens
        return self

    def next_logits(self):
        self.tokens[:, -1]
        return np.zeros((len(self.tokens), len(self.vocabulary)), np.float32)

    def extend(self, tokens):
        self.tokens = np.column_stack([self.tokens, tokens])

    def select(self, rows):
        self.tokens = self.tokens[rows]


@pytest.mark.parametrize("late", [False, True])
def test_an_empty_prompt_that_a_model_cannot_continue_is_refused(late):
    assert len(generate("the", Last(late=late), length=2)[0].tokens) == 2
    with pytest.raises(UsageError, match="the model cannot continue an empty text"):
        generate("", Last(late=late))
    assert generate("", ENDLESS, length=2)[0].tokens  # it can continue an empty text


def test_an_observer_that_writes_around_the_read_only_flag_changes_nothing(register):
    """Each observer has a copy of the step."""

    class Writes:
        @corelm.hookimpl
        def corelm_next_token(self, step):
            for array in (step.logits, step.model_logits, step.tokens, step.surprisal):
                base = array if array.base is None else array.base
                base.setflags(write=True)
                base[...] = 0

    expected = generate(n=3, length=4)
    register(Writes())
    assert generate(n=3, length=4) == expected
