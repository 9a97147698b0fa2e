"""Parameters: declared once, typed, checked, and refused in one sentence."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import re
from dataclasses import FrozenInstanceError, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corelm
from corelm import Decoder, ParameterError, Sampler, param, renamed
from corelm.errors import PluginError, UsageError
from corelm.runs import plugins


class Unchanged(Sampler):
    def __call__(self, logits, context):
        return logits


class AllKinds(Unchanged):
    """One parameter of each kind.

    And a second paragraph.
    """

    number: float = param(1.0, "a number", ge=0)
    count: int = param(2, "a count", gt=0, le=10)
    flag: bool = param(False)
    word: str = param("a", choices=["a", "b"])
    ids: tuple[int, ...] = param((), "token ids", aliases=["tokens"])
    words: tuple[str, ...] = param(("x",))
    anything: tuple = param(())
    tokens_or_words: tuple[int | str, ...] = param(())
    bias: dict[str, float] = param({})


class Plain(Unchanged):
    t: float = 0.5


def refusal(**values: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        AllKinds(**values)
    return str(caught.value)


# Refused values and their messages


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"number": -1}, "number must be at least 0, not -1.0"),
        ({"number": -1e-300}, "number must be at least 0, not -1e-300"),
        ({"number": float("nan")}, "number must be a number, not nan"),
        ({"number": "nan"}, "number must be a number, not nan"),
        ({"number": "abc"}, "number must be a number, not 'abc'"),
        ({"number": ""}, "number must be a number, not ''"),
        ({"number": True}, "number must be a number, not True"),
        ({"number": None}, "number must be a number, not None"),
        ({"number": 1j}, "number must be a number, not 1j"),
        ({"number": 10**400}, "number must be a number, not 1000"),
        ({"count": 0}, "count must be above 0 and at most 10, not 0"),
        ({"count": 11}, "count must be above 0 and at most 10, not 11"),
        ({"count": 2.5}, "count must be a whole number, not 2.5"),
        ({"count": "2.5"}, "count must be a whole number, not '2.5'"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": float("inf")}, "count must be a whole number, not inf"),
        ({"count": float("nan")}, "count must be a whole number, not nan"),
        ({"count": "many"}, "count must be a whole number, not 'many'"),
        ({"flag": 1}, "flag must be true or false, not 1"),
        ({"flag": "yes"}, "flag must be true or false, not 'yes'"),
        ({"word": "c"}, "word must be one of a, b, not 'c'"),
        ({"word": 1}, "word must be a text, not 1"),
        ({"ids": 5}, "ids must be a list of items that are each a whole number, not 5"),
        ({"ids": "1,x"}, "ids must be a list of items that are each a whole number, not '1,x'"),
        ({"ids": [1.5]}, "ids must be a list of items that are each a whole number, not [1.5]"),
        ({"words": [1]}, "words must be a list of items that are each a text, not [1]"),
        ({"anything": 5}, "anything must be a list, not 5"),
        (
            {"tokens_or_words": [1.5]},
            "tokens_or_words must be a list of items that are each a token id or a word, not [1.5]",
        ),
        ({"tokens_or_words": ["a", ""]}, "tokens_or_words must be a list of items"),
        ({"tokens_or_words": [True]}, "tokens_or_words must be a list of items"),
        ({"bias": [1]}, "bias must be a mapping, not [1]"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(values, message):
    assert refusal(**values).startswith(message)
    assert "\n" not in refusal(**values)


@pytest.mark.parametrize("value", ["x" * 10_000, 16**5000, [0] * 10_000], ids=type)
def test_a_huge_value_is_not_repeated_in_full(value):
    assert len(refusal(number=value)) < 120


# Accepted values


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        ({"number": 2}, "number", 2.0),
        ({"number": "0.5"}, "number", 0.5),
        ({"number": "1e-3"}, "number", 0.001),
        ({"number": "inf"}, "number", float("inf")),
        ({"number": np.float32(0.5)}, "number", 0.5),
        ({"count": 3.0}, "count", 3),
        ({"count": "3"}, "count", 3),
        ({"count": np.int64(3)}, "count", 3),
        ({"flag": "true"}, "flag", True),
        ({"flag": "False"}, "flag", False),
        ({"ids": "1, 2,3"}, "ids", (1, 2, 3)),
        ({"ids": [1, 2]}, "ids", (1, 2)),
        ({"ids": np.array([1, 2])}, "ids", (1, 2)),
        ({"ids": ""}, "ids", ()),
        ({"words": "a,b"}, "words", ("a", "b")),
        ({"words": ","}, "words", (",",)),
        ({"tokens_or_words": [3, "3", np.int64(4)]}, "tokens_or_words", (3, "3", 4)),
        ({"tokens_or_words": "a, 3"}, "tokens_or_words", ("a", "3")),
        ({"anything": [1, "a", 2.5]}, "anything", (1, "a", 2.5)),
        ({"bias": {"cat": 1.5}}, "bias", {"cat": 1.5}),
        ({"bias": {np.int64(3): np.float64(2)}}, "bias", {3: 2.0}),
    ],
)
def test_a_value_becomes_the_declared_type(values, name, expected):
    value = getattr(AllKinds(**values), name)
    assert value == expected
    assert type(value) is type(expected) or isinstance(value, dict)


def test_a_whole_text_is_one_item_of_a_list():
    class Bans(Unchanged):
        texts: tuple[str, ...] = param((), "texts", whole=True)

    assert Bans(texts="Well, well").texts == ("Well, well",)
    assert Bans(texts=("a, b", "c")).texts == ("a, b", "c")


def test_the_defaults():
    assert repr(AllKinds()) == (
        "AllKinds(number=1.0, count=2, flag=False, word='a', ids=(), words=('x',), "
        "anything=(), tokens_or_words=(), bias={})"
    )


def test_numpy_numbers_become_pythons_own():
    sampler = AllKinds(bias={np.int64(3): np.float64(2)}, anything=[np.int64(1), np.float32(0.5)])
    assert repr(sampler.bias) == "{3: 2.0}"
    assert repr(sampler.anything) == "(1, 0.5)"


def test_mappings_that_differ_hash_differently():
    assert hash(AllKinds(bias={"a": 1}).bias) != hash(AllKinds(bias={"a": 2}).bias)


def test_a_field_without_param_is_a_parameter_without_a_rule():
    assert Plain().t == 0.5
    assert Plain(t="2").t == 2.0
    with pytest.raises(ParameterError, match="t must be a number, not 'x'"):
        Plain(t="x")


# A value


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Plain().t = 1.0


def test_equal_values_are_equal_and_hash_alike():
    assert Plain(t=1) == Plain(t=1.0) != Plain(t=2)
    assert AllKinds(bias={"a": 1}) == AllKinds(bias={"a": 1})
    assert len({AllKinds(bias={"a": 1}), AllKinds(bias={"a": 1}), AllKinds()}) == 2


def test_samplers_of_two_classes_are_never_equal():
    class Other(Plain):
        pass

    assert Other() != Plain()


def test_replacing_a_value_checks_it():
    sampler = AllKinds(number=0.25, bias={"a": 1})
    assert replace(sampler, number=3).number == 3.0
    with pytest.raises(ParameterError):
        replace(sampler, number=-3)


def test_the_default_mapping_is_not_shared():
    given_bias = {"a": 1}
    sampler = AllKinds(bias=given_bias)
    given_bias["a"] = 2
    assert sampler.bias == {"a": 1}


# Declarations that other code lists


def test_the_declarations_can_be_listed():
    names = [p.name for p in AllKinds.parameters()]
    assert names == [
        "number", "count", "flag", "word", "ids", "words", "anything", "tokens_or_words", "bias"
    ]  # fmt: skip
    number, count, *_, ids, words, anything, tokens, bias = AllKinds.parameters()
    assert (number.type, number.default, number.rule.help) == (float, 1.0, "a number")
    assert (count.type, str(count.rule)) == (int, "above 0 and at most 10")
    assert (ids.type, ids.item_type, ids.rule.aliases) == (tuple, int, ("tokens",))
    assert (words.item_type, anything.item_type, tokens.item_type) == (str, None, int | str)
    assert (bias.type, bias.default) == (dict, {})


def test_a_token_is_an_id_or_a_word():
    class Near(Plain):
        near: int | str = param("the")

    near = Near.parameters()[-1]
    assert (near.type, near.item_type, near.default) == (int | str, None, "the")
    assert (Near(near=7).near, Near(near="cat").near) == (7, "cat")


def test_the_description_is_the_first_paragraph():
    class Documented(Plain):
        """Two lines
        of one paragraph.

        Another one.
        """

    class Silent(Plain):
        t: float = param(1.0)

    assert AllKinds.description() == "One parameter of each kind."
    assert Documented.description() == "Two lines of one paragraph."
    assert Silent.description() == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TopP", "top_p"),
        ("Temperature", "temperature"),
        ("DRY", "dry"),
        ("NoRepeatNGram", "no_repeat_n_gram"),
        ("TopNSigma", "top_n_sigma"),
        ("Top2Tokens", "top2_tokens"),
    ],
)
def test_the_name_is_the_class_name_in_snake_case(name, expected):
    assert type(name, (Unchanged,), {}).name == expected


def test_a_name_of_its_own():
    class Named(Plain):
        name = "another"

    assert Named.name == "another"
    assert str(Named()) == "another(t=0.5)"


def test_the_expression_of_a_value():
    assert str(Plain()) == "plain(t=0.5)"
    sampler = AllKinds(
        number="inf", flag=True, word="b", ids=[1], words=[], anything=[1, "it's"],
        bias={"a": float("-inf")},
    )  # fmt: skip
    assert sampler.expression == (
        "all_kinds(number=inf, count=2, flag=True, word='b', ids=(1,), words=(), "
        """anything=(1, "it's"), tokens_or_words=(), bias={'a': -inf})"""
    )


# build: by position, name or alias


def test_build_takes_positions_names_and_aliases():
    assert AllKinds.build(0.5, 3) == AllKinds(number=0.5, count=3)
    assert AllKinds.build(0.5, tokens=[7]) == AllKinds(number=0.5, ids=(7,))


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {"x": 1}, "plain has no parameter 'x'; it has: t"),
        ((1, 2), {}, "plain takes fewer than 2 values; it has: t"),
        ((1,), {"t": 2}, "plain: "),
    ],
)
def test_build_refuses_unknown_names_and_surplus_values(values, named, message):
    with pytest.raises(ParameterError) as caught:
        Plain.build(*values, **named)
    assert str(caught.value).startswith(message)


def test_a_sampler_without_parameters_says_so():
    class Nothing(Unchanged):
        pass

    with pytest.raises(ParameterError, match=r"nothing has no parameter 't'; it has: none"):
        Nothing.build(t=1)


def test_a_parameter_without_a_default_is_asked_for():
    class Needs(Unchanged):
        t: float

    assert Needs.build(t=2).t == 2.0
    with pytest.raises(ParameterError, match=r"needs: .*missing .*'t'; it has: t"):
        Needs.build()


def test_every_bound_of_a_declaration_is_kept():
    class Bounded(Unchanged):
        share: float = param(0.5, gt=0, lt=1)
        more: float = param(1, ge=1, le=2)
        open: float = param(1, gt=-0.5)
        small: float = param(0, le=1e-9)

    assert [str(p.rule) for p in Bounded.parameters()] == [
        "above 0 and below 1", "at least 1 and at most 2", "above -0.5", "at most 1e-09",
    ]  # fmt: skip
    for values in ({"share": 1}, {"share": 0}, {"more": 2.001}, {"more": 0.999}, {"open": -0.5}):
        with pytest.raises(ParameterError):
            Bounded(**values)
    assert Bounded(more=2, share=0.9999, open=float("inf"), small=-5).more == 2


def test_a_class_keeps_a_repr_of_its_own():
    class Quiet(Plain):
        def __repr__(self):
            return "quiet"

    class Loud(Quiet):
        pass

    assert repr(Quiet()) == "quiet"
    assert repr(Loud(t=2)).endswith("Loud(t=2.0)")


# Classes that are not samplers


def test_the_message_calls_a_decoder_a_decoder():
    with pytest.raises(PluginError, match=r"^not a decoder: Untyped.width has no type"):

        class Untyped(Decoder):
            width = param(4)


def test_a_subclass_may_declare_a_parameter_again():
    class Warmer(Plain):
        t: float = param(2.0, gt=1)

    assert Warmer().t == 2.0
    with pytest.raises(ParameterError, match=r"t must be above 1, not 0.5"):
        Warmer(t=0.5)


def test_a_type_that_does_not_exist():
    class Lost(Unchanged):
        t: Nowhere = param(1.0)  # noqa: F821

    with pytest.raises(
        PluginError, match=r"not a sampler: the types of Lost cannot be read: .*Now"
    ):
        Lost()


# Arbitrary values


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.complex_numbers(),
    st.lists(st.integers() | st.text(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats(), max_size=3),
)


@given(ANYTHING)
def test_any_value_is_accepted_or_refused_by_name(value):
    for name in (p.name for p in AllKinds.parameters()):
        with contextlib.suppress(ParameterError):
            taken = AllKinds(**{name: value})
            # What was taken is taken again: the declared type and the rule hold.
            assert repr(AllKinds(**{name: getattr(taken, name)})) == repr(taken)


def test_a_mapping_cannot_be_changed_and_nor_can_its_hash():
    sampler = AllKinds(bias={"a": 1})
    before = hash(sampler)
    changes = (
        lambda bias: bias.__setitem__("b", 2),
        lambda bias: bias.__delitem__("a"),
        lambda bias: bias.__ior__({"b": 2}),
        lambda bias: bias.update(b=2),
        lambda bias: bias.setdefault("b", 2),
        lambda bias: bias.pop("a"),
        lambda bias: bias.popitem(),
        lambda bias: bias.clear(),
    )
    for change in changes:
        with pytest.raises(TypeError) as caught:
            change(sampler.bias)
        assert str(caught.value) == (
            "a parameter cannot be changed; make a new sampler with other values"
        )
    assert (sampler.bias, hash(sampler)) == ({"a": 1}, before)
    assert repr(sampler.bias) == "{'a': 1}"


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_value_with_a_mapping_is_copied_and_pickled(copied):
    sampler = renamed(AllKinds(bias={"a": 1}), "other:all_kinds")
    again = copied(sampler)
    assert again == sampler
    assert hash(again) == hash(sampler)
    assert str(again) == str(sampler)
    assert str(again).startswith("other:all_kinds(")


# ---- local parameters ----


class _Opens(Unchanged):
    source: str = param("none", "the name of a file", local=True)


def test_a_local_parameter_is_refused_where_strangers_write_expressions():
    assert _Opens(source="a file").source == "a file"
    with corelm.Sampler.refuse_local():
        assert _Opens().source == "none"
        assert _Opens.build(source="none").source == "none"
        with pytest.raises(ParameterError, match="source names something of the machine"):
            _Opens(source="a file")
    assert _Opens(source="a file").source == "a file"


class Secretive(corelm.Sampler):
    """Keep what it derived from its parameters outside them."""

    key: str = corelm.param("env:SECRETIVE", "the name of a variable")
    inside: corelm.Sampler = corelm.param(corelm.sampler("temperature(t=0.5)"), "acts first")

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "_secret", os.environ[self.key.removeprefix("env:")])

    def __call__(self, logits, context):
        return logits * len(self._secret)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_is_made_from_the_parameters(monkeypatch, again):
    monkeypatch.setenv("SECRETIVE", "in a variable")
    value = renamed(Secretive(key="env:SECRETIVE") | corelm.sampler("greedy"), "chain")
    alone = renamed(value.stages[0], "my-package:secretive")
    for each in (value, alone):
        assert b"in a variable" not in pickle.dumps(each)
        assert again(each) == each
        assert (str(again(each)), again(each).name) == (str(each), each.name)
    monkeypatch.setenv("SECRETIVE", "another")
    assert again(alone)._secret == "another"


def test_every_sampler_and_decoder_survives_a_copy():
    installed = plugins.registry()
    values = []
    for offer in (*installed.offers("corelm_samplers"), *installed.offers("corelm_decoders")):
        with contextlib.suppress(ParameterError):  # one that needs a value
            values.append(offer.value())
    assert len(values) > 25
    for value in values:
        found = pickle.loads(pickle.dumps(value))
        assert (found, str(found)) == (value, str(value))


@pytest.mark.parametrize("base", [Sampler, Decoder])
def test_a_default_that_breaks_its_rule_names_its_class(base):
    class Broken(base):
        """Whose author mistook a default."""

        t: float = param(-1.0, "a number", ge=0)

        def __call__(self, *arguments):
            return arguments

    with pytest.raises(ParameterError) as caught:
        Broken()
    assert str(caught.value) == (
        "the default of Broken.t breaks its rule: t must be at least 0, not -1.0"
    )
    with pytest.raises(ParameterError, match=r"^t must be at least 0, not -2\.0$"):
        Broken(t=-2.0)


@pytest.mark.parametrize("default", [[], {}, set(), np.zeros(2)])
def test_a_mutable_default_is_refused_with_what_param_takes(default):
    with pytest.raises(
        PluginError, match=r"^not a sampler: Odd\.words has the mutable default"
    ) as e:

        class Odd(Sampler):
            words: tuple = default

    assert 'tuple[str, ...] = param((), "...")' in str(e.value)


def test_a_class_attribute_may_be_mutable():
    class Fine(Unchanged):
        """A filter."""

        neutral: ClassVar[dict[str, float]] = {"p": 1.0}
        p: float = param(1.0, "a share")

    assert Fine().is_neutral


def test_a_class_in_place_of_a_value_is_named():
    for options, word in (
        ({"sampler": type(corelm.sampler("greedy"))}, "a sampler is an object: write Greedy()"),
        ({"sampler": "greedy", "decoder": corelm.Ancestral}, "a decoder is an object: write Ances"),
    ):
        with pytest.raises(UsageError, match=f"^{re.escape(word)}"):
            corelm.generate("imdb", "This", length=1, **options)


def test_expressions_are_samplers_everywhere():
    chain = corelm.sampler("top_k(k=2) | temperature(t=0.5)")
    logits = [1.0, 2.0, 3.0]
    expected = corelm.sampling_distribution(chain, logits).tolist()
    assert corelm.sampling_distribution(str(chain), logits).tolist() == expected
    assert corelm.lint("temperature(t=0.5) | greedy") == corelm.lint(
        corelm.sampler("temperature(t=0.5) | greedy")
    )
    assert corelm.lint("temperature(t=0.5) | greedy")
