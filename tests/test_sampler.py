"""The sampler contract: chains, the distribution drawn from, and every way to break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import corelm
from corelm import Chain, Context, Sampler, param, sampling_distribution
from corelm.errors import ModelOutputError, ParameterError, PluginError, SamplerError, UsageError
from corelm.testing import LAWS
from corelm.validation import apply, invalid_result, run_stages

INF = float("inf")
GREEDY = corelm.sampler("greedy")
COLD = corelm.sampler("temperature", t=0.5)


class Add(Sampler):
    """Add to the first token, so that the order of a chain shows."""

    amount: float = param(1.0)

    def __call__(self, logits, context):
        first = np.arange(logits.shape[-1]) == 0
        return np.where(first, logits + self.amount, logits).astype(logits.dtype)


class Returns(Sampler):
    """Return a fixed value and ignore the logits."""

    value: dict = param({})

    def __call__(self, logits, context):
        return self.value["it"]


class Last(Sampler):
    """Put all probability on the last token of the context."""

    def __call__(self, logits, context):
        result = np.full_like(logits, -INF)
        np.put_along_axis(result, context.tokens[:, -1:], 0, axis=-1)
        return result


# Chains


def test_a_chain_applies_its_stages_in_order():
    logits = np.array([[0.0, 1.0]])
    add_first = apply(Add(amount=2) | COLD, logits, Context.of([[0]]))
    add_last = apply(COLD | Add(amount=2), logits, Context.of([[0]]))
    assert add_first.tolist() == [[4.0, 2.0]]  # (2, 1), doubled
    assert add_last.tolist() == [[2.0, 2.0]]  # (0, 2), then 2 more for the first


def test_chains_are_flattened():
    a, b, c = Add(amount=1), Add(amount=2), Add(amount=3)
    assert (a | b | c).stages == (a, b, c)
    assert (a | (b | c)) == ((a | b) | c) == Chain((a, b, c))
    assert Chain((a, Chain((b, c)))).samplers == (a, b, c)
    assert a.stages == (a,)


def test_a_chain_is_called_as_any_sampler():
    logits = np.array([[0.0, 1.0]])
    chain = Add(amount=2) | GREEDY
    assert chain(logits, Context.of([[0]])).tolist() == [[0.0, -INF]]


def test_the_repr_of_a_chain_is_read_back():
    chain = COLD | GREEDY
    assert repr(chain) == str(chain) == "temperature(t=0.5) | greedy"
    assert corelm.sampler(repr(chain)) == chain


def test_an_empty_chain_is_refused():
    with pytest.raises(ParameterError, match=r"^a chain needs at least one sampler$"):
        Chain(())


def test_a_chain_is_made_of_samplers():
    with pytest.raises(TypeError):
        GREEDY | "temperature"


def test_a_sampler_without_call_cannot_be_made():
    class Nothing(Sampler):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()


# The class attributes


class Plain(Sampler):
    """A sampler that declares nothing."""

    a: float = param(1.0)
    b: float = param(2.0)

    def __call__(self, logits, context):
        return logits + 1


class Declared(Plain):
    """A sampler that declares everything."""

    kind = "penalty"
    neutral = {"a": 0.0, "b": 0}
    reads = {"tokens", "step"}
    is_argmax_invariant = True
    is_shift_invariant = False


def test_every_class_attribute_has_a_default():
    assert (Plain.kind, dict(Plain.neutral)) == ("other", {})
    assert Plain.reads == {"tokens", "step", "surprisal", "model_surprisal", "vocabulary"}
    assert not Plain.is_argmax_invariant
    assert Plain.is_shift_invariant
    assert not Plain(a=0, b=0).is_neutral


def test_a_sampler_is_neutral_where_every_neutral_value_is_there():
    assert Declared(a=0, b=0).is_neutral
    assert not Declared(a=0, b=1).is_neutral
    assert not Declared(a=1, b=0).is_neutral


def test_the_class_attributes_are_frozen():
    assert isinstance(Declared.reads, frozenset)
    with pytest.raises(TypeError):
        Declared.neutral["a"] = 1.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kind", "fliter", "kind must be one of temperature, filter, penalty, mask, other, not 'f"),
        ("neutral", {"c": 1}, "neutral must map parameters to values, not be {'c': 1}; the para"),
        ("neutral", "a", "neutral must map parameters to values, not be 'a'; the parameters are: "),
        ("reads", {"token"}, "reads must be a set of model_surprisal, step, surprisal, tokens, vo"),
        ("reads", "tokens", "reads must be a set of model_surprisal, step, surprisal, tokens, voc"),
        ("reads", None, "reads must be a set of model_surprisal, step, surprisal, tokens, vocabu"),
        ("is_argmax_invariant", 1, "is_argmax_invariant must be True or False, not 1"),
        ("is_shift_invariant", None, "is_shift_invariant must be True or False, not None"),
    ],
)
def test_a_class_attribute_outside_the_contract_is_refused_with_the_class(name, value, message):
    with pytest.raises(PluginError) as caught:
        type("Odd", (Plain,), {name: value})
    assert str(caught.value).startswith(f"not a sampler: Odd.{message}")


def test_a_chain_has_the_attributes_of_its_stages():
    assert (COLD | GREEDY).reads == frozenset()
    assert (COLD | Declared()).reads == {"tokens", "step"}
    assert (COLD | GREEDY).is_argmax_invariant
    assert not (COLD | Plain()).is_argmax_invariant
    assert (COLD | Plain()).is_shift_invariant
    assert not (COLD | Declared()).is_shift_invariant


def test_neutral_stages_are_not_called():
    class Refuses(Sampler):
        neutral = {"on": False}
        on: bool = param(True)

        def __call__(self, logits, context):
            raise AssertionError("called")

    off, logits = Refuses(on=False), np.array([[0.0, 1.0]])
    assert apply(off, logits, Context.of([[0]])) is logits
    assert apply(off | off, logits, Context.of([[0]])) is logits
    assert (off | off).is_neutral
    between = apply(off | COLD | off, logits, Context.of([[0]]))
    assert between.tolist() == apply(COLD, logits, Context.of([[0]])).tolist()
    assert not (off | COLD).is_neutral
    with pytest.raises(SamplerError, match="refuses\\(on=True\\) failed"):
        apply(COLD | Refuses(), logits, Context.of([[0]]))


def test_the_stages_can_run_without_the_last_check():
    invalid = np.full((1, 2), np.nan)
    result = run_stages(COLD | Named(invalid), np.zeros((1, 2)), Context.of([[0]]))
    assert np.isnan(result).all()
    error = invalid_result(COLD | Named(invalid) | Declared(a=0, b=0), result, step=4)
    assert str(error) == "named returned NaN at step 4, row 0"
    with pytest.raises(SamplerError, match="named returned NaN at step 0, row 0"):
        run_stages(Named(invalid) | COLD, np.zeros((1, 2)), Context.of([[0]]))


# sampling_distribution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_have_the_shape_and_dtype_of_the_logits(dtype):
    one = sampling_distribution(COLD, np.zeros(4, dtype))
    many = sampling_distribution(COLD, np.zeros((3, 4), dtype))
    assert (one.shape, one.dtype, many.shape, many.dtype) == ((4,), dtype, (3, 4), dtype)
    assert one.tolist() == [0.25] * 4


def test_it_is_exact():
    # t = 0.5 squares the odds of 1 : 3 to 1 : 9
    assert sampling_distribution(COLD, np.log([0.25, 0.75])).tolist() == pytest.approx([0.1, 0.9])


def test_whole_numbers_are_logits_too():
    assert sampling_distribution(GREEDY, [1, 3, 2]).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([2], [[0, 0, 1], [0, 0, 1]]),
        ([0, 1], [[0, 1, 0], [0, 1, 0]]),
        ([[0], [2]], [[1, 0, 0], [0, 0, 1]]),
    ],
)
def test_the_context_is_one_text_or_one_per_row(tokens, expected):
    assert sampling_distribution(Last(), np.zeros((2, 3)), tokens).tolist() == expected


def test_without_tokens_the_context_is_empty():
    seen = []

    class Looks(Sampler):
        def __call__(self, logits, context):
            seen.append((context.tokens.shape, context.step))
            return logits

    sampling_distribution(Looks(), np.zeros((2, 3)))
    assert seen == [((2, 0), 0)]


@pytest.mark.parametrize("tokens", [None, [], [1.0, 2.0], np.array([[3]], np.int32)])
def test_the_tokens_of_a_context_are_64_bit_integers(tokens):
    dtypes = []

    class Looks(Sampler):
        def __call__(self, logits, context):
            dtypes.append(context.tokens.dtype)
            return logits

    sampling_distribution(Looks(), np.zeros((1, 3)), tokens)
    assert dtypes == [np.int64]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 2, 3)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"logits must be \(vocabulary,\) or \(batch, vocab"):
        sampling_distribution(GREEDY, np.zeros(shape))


@pytest.mark.parametrize("tokens", [np.zeros((3, 1)), np.zeros((1, 2, 3))])
def test_tokens_of_another_shape_are_refused(tokens):
    with pytest.raises(UsageError, match=r"tokens must be \(time,\) or \(2, time\)"):
        sampling_distribution(GREEDY, np.zeros((2, 3)), tokens)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([np.nan, 0.0], "NaN"),
        ([np.nan, np.nan], "NaN"),
        ([INF, 0.0], r"\+infinity"),
        ([-INF, -INF], "a row in which every token is impossible"),
    ],
)
def test_invalid_logits_are_refused(row, fault):
    with pytest.raises(ModelOutputError, match=f"^the logits hold {fault} in row 1$"):
        sampling_distribution(GREEDY, [[0.0, 5.0], row])


def test_the_input_stays_as_it_was():
    logits = np.array([3.0, 1.0])
    p = sampling_distribution(corelm.sampler("stochastic"), logits)
    assert logits.tolist() == [3.0, 1.0]
    assert logits.flags.writeable
    p[0] = 0  # the answer is the caller's own


# Ways to break the contract


LOGITS = np.zeros((2, 3))
LATER = Context.of(np.zeros((2, 9), dtype=int), prompt_length=2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "returned NoneType instead of an array at step 7"),
        (0.5, "returned float instead of an array at step 7"),
        ([[0.0] * 3] * 2, "returned list instead of an array at step 7"),
        (np.zeros(3), "returned the shape (3,) instead of (2, 3) at step 7"),
        (np.zeros((2, 4)), "returned the shape (2, 4) instead of (2, 3) at step 7"),
        (np.zeros((3, 2)), "returned the shape (3, 2) instead of (2, 3) at step 7"),
        (np.zeros((2, 3), np.float32), "returned float32 instead of float64 at step 7"),
        (np.zeros((2, 3), int), "returned int64 instead of float64 at step 7"),
        (np.zeros((2, 3), object), "returned object instead of float64 at step 7"),
        (np.zeros((2, 3), "U1"), "returned <U1 instead of float64 at step 7"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "returned NaN at step 7, row 1"),
        (np.array([[0, INF, 0], [0, 0, 0]]), "returned +infinity at step 7, row 0"),
        (
            np.array([[5, 0, 0], [-INF] * 3]),
            "returned a row in which every token is impossible at step 7, row 1",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_an_invalid_result_is_refused_with_sampler_step_and_row(value, message):
    with pytest.raises(SamplerError) as caught:
        apply(GREEDY | Named(value) | GREEDY, LOGITS, LATER)
    assert str(caught.value) == f"named {message}"


class Named(Returns):
    def __init__(self, value):
        object.__setattr__(self, "value", {"it": value})

    @property
    def expression(self):
        return "named"


def test_of_several_bad_rows_the_first_one_is_named():
    rows = np.array([[0.0, 0.0], [-INF, -INF], [np.nan, 0.0]])
    with pytest.raises(SamplerError, match="every token is impossible at step 0, row 1"):
        apply(Named(rows), np.zeros((3, 2)), Context.of(np.zeros((3, 1), dtype=int)))


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, SystemExit])
def test_an_exception_of_a_sampler_is_wrapped_with_its_name_and_step(error):
    class Fails(Sampler):
        def __call__(self, logits, context):
            raise error("no good")

    with pytest.raises(SamplerError) as caught:
        apply(COLD | Fails(), LOGITS, LATER)
    assert str(caught.value) == f"fails failed at step 7: {error.__name__}: no good"
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("error", [UsageError, ParameterError])
def test_a_usage_error_stays_one_and_names_the_sampler(error):
    class Needs(Sampler):
        def __call__(self, logits, context):
            raise error("there is no such word")

    with pytest.raises(UsageError) as caught:
        apply(COLD | Needs(), LOGITS, LATER)
    assert str(caught.value) == "needs: there is no such word"


def test_an_interruption_is_not_wrapped():
    class Interrupted(Sampler):
        def __call__(self, logits, context):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(Interrupted(), LOGITS, LATER)


def test_the_input_is_read_only():
    class Writes(Sampler):
        def __call__(self, logits, context):
            logits[0, 0] = 5
            return logits

    logits = np.zeros((2, 3))
    with pytest.raises(SamplerError, match=r"writes failed at step 7: ValueError: .*read-only"):
        apply(Writes(), logits, LATER)
    assert logits[0, 0] == 0
    assert logits.flags.writeable


# Arbitrary logits


ROWS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: hnp.arrays(
        np.float64,
        shape,
        elements=st.one_of(
            st.floats(-100, 100),
            st.sampled_from([0.0, 1.0, -INF, 1e30, -1e30, 5e-324, -5e-324, 1e-310]),
        ),
    )
)


@given(ROWS, st.sampled_from([np.float32, np.float64]), st.floats(0, 5) | st.just(INF))
def test_the_built_in_samplers_return_a_distribution_for_any_logits(logits, dtype, t):
    logits[(logits == -INF).all(axis=-1), 0] = 0
    logits = logits.astype(dtype)
    samplers = ["greedy", "stochastic", "uniform", corelm.sampler("temperature", t=t)]
    for sampler in map(corelm.sampler, samplers):
        p = sampling_distribution(sampler, logits)
        assert (p.shape, p.dtype) == (logits.shape, dtype)
        assert p.sum(axis=-1) == pytest.approx(np.ones(len(p)), abs=1e-5)
        assert (p[logits == -INF] == 0).all()
        alone = np.array([sampling_distribution(sampler, row) for row in logits])
        assert np.array_equal(alone, p)


def test_chains_obey_the_laws():
    for law in LAWS:
        law(COLD | corelm.sampler("stochastic") | Add(amount=0.5))
