"""Expressions: read, written and read again; never an exception but a CorelmError."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import corelm
from corelm import Chain, CorelmError, ParameterError, Sampler, hookimpl, param
from corelm.errors import ExpressionError
from corelm.runs import Expression, plugins


class AllKinds(Sampler):
    """One parameter of each kind."""

    number: float = param(1.0)
    count: int = param(2)
    flag: bool = param(False)
    word: str = param("a")
    ids: tuple[int, ...] = param(())
    anything: tuple = param(())
    bias: dict[str, float] = param({})

    def __call__(self, logits, context):
        return logits


@pytest.fixture(autouse=True, scope="module")
def _registered():
    plugins.registry.cache_clear()
    plugins.registry().register(
        SimpleNamespace(corelm_samplers=hookimpl(lambda: {"all_kinds": AllKinds}))
    )
    yield
    plugins.registry.cache_clear()


TEMPERATURE = corelm.sampler("temperature").__class__


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("temperature", TEMPERATURE()),
        (" temperature ", TEMPERATURE()),
        pytest.param("temperature".ljust(Expression.LONGEST), TEMPERATURE(), id="the longest"),
        ("temperature()", TEMPERATURE()),
        ("temperature( )", TEMPERATURE()),
        ("temperature(t=0.2)", TEMPERATURE(t=0.2)),
        ("temperature (\n t = 0.2 ,\n)", TEMPERATURE(t=0.2)),
        ("temperature(0.2)", TEMPERATURE(t=0.2)),
        ("temperature(temperature=0.2)", TEMPERATURE(t=0.2)),
        ("temperature(t=inf)", TEMPERATURE(t=float("inf"))),
        ("temperature(t='0.5')", TEMPERATURE(t=0.5)),
        (
            "all_kinds(bias={'a|b': -inf, \"c)\": 1})",
            AllKinds(bias={"a|b": -float("inf"), "c)": 1}),
        ),
        ("all_kinds(word='a | b')", AllKinds(word="a | b")),
        (r"all_kinds(word='it\'s | it')", AllKinds(word="it's | it")),
        (r"all_kinds(word='back\\')", AllKinds(word="back\\")),
        ("all_kinds(word='')", AllKinds(word="")),
        ("all_kinds(ids=[1, -2])", AllKinds(ids=(1, -2))),
        ("all_kinds(ids=(1,))", AllKinds(ids=(1,))),
        ("all_kinds(anything=[1, [2, 'x'], None])", AllKinds(anything=(1, (2, "x"), None))),
        ("all_kinds(flag=True, count=0x10)", AllKinds(flag=True, count=16)),
        ("all_kinds(flag=true)", AllKinds(flag=True)),
        ("all_kinds(flag=false, anything=[true])", AllKinds(flag=False, anything=(True,))),
    ],
)
def test_an_expression_means_this_sampler(expression, expected):
    assert corelm.sampler(expression) == expected


def test_nan_is_read_as_a_number():
    [value] = corelm.sampler("all_kinds(anything=[nan])").anything
    assert math.isnan(value)


def test_a_chain():
    chain = corelm.sampler("all_kinds(word='|') | temperature(t=0.5)|greedy")
    assert chain == AllKinds(word="|") | TEMPERATURE(t=0.5) | corelm.sampler("greedy")
    assert isinstance(chain, Chain)


def test_a_quoted_backslash_does_not_swallow_the_bar():
    chain = corelm.sampler(r"all_kinds(word='\\') | greedy")
    assert [str(stage).split("(")[0] for stage in chain.stages] == ["all_kinds", "greedy"]


def test_a_sampler_comes_back_as_it_is():
    sampler = TEMPERATURE(t=0.3)
    assert corelm.sampler(sampler) is sampler


@pytest.mark.parametrize(
    ("expression", "parameters", "message"),
    [
        ("temperature(t=1)", {"t": 2}, "parameters go with a bare name"),
        ("temperature(1)", {"t": 2}, "parameters go with a bare name"),
        ("greedy | greedy", {"t": 2}, "parameters go with a bare name"),
        (TEMPERATURE(), {"t": 2}, "parameters go with a name, not with a sampler that has its own"),
        ("greedy", {"t": 2}, "greedy has no parameter 't'; it has: none"),
        ("temperature", {"t": -1}, "t must be at least 0, not -1.0"),
    ],
)
def test_misplaced_parameters_are_refused(expression, parameters, message):
    with pytest.raises(ParameterError) as caught:
        corelm.sampler(expression, **parameters)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "|",
        "greedy |",
        "| greedy",
        "greedy || greedy",
        "temperature(",
        "temperature)",
        "temperature(t=1))",
        "temperature((t=1)",
        "temperature(t=1",
        "temperature t=1",
        "a:b:c",
        ":a",
        "temperature(t=1)(2)",
        "temperature(t=1) or (2)",
        "temperature(t=1, t=2)",
        "temperature(t=)",
        "temperature(=1)",
        "temperature(t=x)",
        "temperature(t=__import__('os'))",
        "temperature(t=[].__class__)",
        "temperature(t=lambda: 1)",
        "temperature(t=1 if 1 else 2)",
        "temperature(t='a' 'b'.upper())",
        "temperature(t=f'{1}')",
        "temperature(*[1])",
        "temperature(**{'t': 1})",
        "temperature(x for x in [])",
        "temperature(t:=1)",
        "temperature(t=-'a')",
        "temperature(t={**{}})",
        "temperature(t='unclosed)",
        "temperature(t=1 # comment)",
        "temperature(\0)",
        "temperature(t=" + "(" * 5000 + ")" * 4000 + ")",
        "temperature(t=" + "[" * 4000 + "]" * 4000 + ")",
        "temperature(t=" + "-" * 9000 + "1)",
        "temperature(t=" + "{1:" * 3000 + "1" + "}" * 3000 + ")",
        "temperature(t=" + "9" * 9000 + ")",
        "é(t=",
        "x" * (Expression.LONGEST + 1),
        "temperature(t=1)" + " " * Expression.LONGEST,
        "greedy|" * (Expression.LONGEST // 7) + "|" * 100,
    ],
    ids=lambda expression: ascii(expression[:30]).replace("\\", "/"),
)
def test_an_unreadable_expression_is_refused(expression):
    with pytest.raises(ExpressionError) as caught:
        corelm.sampler(expression)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_the_message_says_how_to_write_it():
    with pytest.raises(ExpressionError) as caught:
        corelm.sampler("temperature t=1")
    assert str(caught.value) == (
        "cannot read 'temperature t=1' as a sampler; write name or name(parameter=value), "
        "and put | between two"
    )


@pytest.mark.parametrize(
    ("written", "shown"), [("t=x", "t=x"), ("greedy", "t=greedy"), ("t=greedy", "t=greedy")]
)
def test_the_message_says_how_to_write_parameters(written, shown):
    with pytest.raises(ExpressionError) as caught:
        corelm.sampler(f"temperature({written})")
    assert str(caught.value) == (
        f"cannot read the parameters of temperature: {shown!r}; write each once, as "
        "parameter=value with a number, True or False, a quoted text, a list, a mapping or a "
        "sampler"
    )


@pytest.mark.parametrize("nothing", [None, 5, ["greedy"]])
def test_a_value_of_another_type_is_not_an_expression(nothing):
    with pytest.raises(ExpressionError, match=r"a sampler is a name, an expression or a value"):
        corelm.sampler(nothing)


def test_a_sampler_that_fails_while_it_is_made_is_named_with_the_reason():
    class Fails(Sampler):
        def __post_init__(self):
            raise OSError("no file")

        def __call__(self, logits, context):
            return logits

    plugin = SimpleNamespace(corelm_samplers=hookimpl(lambda: {"fails": Fails}))
    plugins.registry().register(plugin, "elsewhere")
    message = "^Fails of elsewhere:SimpleNamespace cannot be made: OSError: no file$"
    with pytest.raises(ParameterError, match=message) as caught:
        corelm.sampler("fails")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_chain_of_a_thousand():
    chain = corelm.sampler(" | ".join(["greedy"] * 1000))
    assert len(chain.stages) == 1000


# The way back: str(sampler), for every value that a parameter can have

TEXTS = st.text(max_size=12) | st.sampled_from(["|", "\\", "'", '"', "')|greedy('", "\\'", "\n"])
NUMBERS = st.floats(allow_nan=False) | st.integers()
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)

ANY_VALUE = st.builds(
    AllKinds,
    number=st.floats(allow_nan=False),
    count=st.integers(),
    flag=st.booleans(),
    word=TEXTS,
    ids=st.lists(st.integers(), max_size=3).map(tuple),
    anything=st.lists(NESTED, max_size=3).map(tuple),
    bias=st.dictionaries(TEXTS | st.integers(), NUMBERS, max_size=3),
)


@given(ANY_VALUE)
def test_the_expression_of_any_sampler_is_read_back(sampler):
    assert corelm.sampler(str(sampler)) == sampler


@given(st.lists(ANY_VALUE | st.floats(0, 1e300).map(lambda t: TEMPERATURE(t=t)), min_size=1))
def test_the_expression_of_any_chain_is_read_back(samplers):
    chain = Chain(tuple(samplers))
    back = corelm.sampler(repr(chain))
    assert back.stages == chain.stages


# Fuzzing: any text is read or refused

PIECES = """
    temperature all_kinds greedy nobody: t word bias None nan inf lambda 1 1e999 1_0 1if
    ( ) [ ] { } ' " \\ | , = : - * ** := # f' b' ... 0x
"""
WORDS = st.sampled_from(PIECES.split()) | st.sampled_from(" \n\0")


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=40))
@example("temperature(t=1)\x0c|\x1cgreedy")
@example("temperature(t='\\d')")
@example("temperature(t=0_7)")
@example("temperature(0or 1)")
@example("all_kinds(bias={[]: 1})")
@example("all_kinds(bias={(1, {}): 1})")
@example("all_kinds(anything=[{}])")
@example("all_kinds(word=b'a')")
def test_any_text_is_refused_or_read_as_its_expression_is(expression):
    try:
        sampler = corelm.sampler(expression)
    except CorelmError:
        return
    assert corelm.sampler(str(sampler)) == sampler
