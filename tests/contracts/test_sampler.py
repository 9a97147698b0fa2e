"""The sampler contract: chains, class attributes, and the distribution drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from faulty import Plain

import corelm
from corelm import Chain, Context, ParameterError, Sampler, param, sampling_distribution
from corelm.errors import ModelOutputError, UsageError
from corelm.runs import chain_stages
from corelm.testing import LAWS

INF = float("inf")
GREEDY = corelm.sampler("greedy")
COLD = corelm.sampler("temperature", t=0.5)


class Add(Sampler):
    """Add to the first token, so that the order of a chain shows."""

    reads = frozenset({"vocabulary"})
    amount: float = param(1.0)

    def __call__(self, logits, context):
        first = np.arange(logits.shape[-1]) == 0
        return np.where(first, logits + self.amount, logits).astype(logits.dtype)


class Last(Sampler):
    """Put all probability on the last token of the context."""

    def __call__(self, logits, context):
        result = np.full_like(logits, -INF)
        np.put_along_axis(result, context.tokens[:, -1:], 0, axis=-1)
        return result


# Chains


def test_a_chain_applies_its_stages_in_order():
    logits = np.array([[0.0, 1.0]])
    add_first = chain_stages.apply(Add(amount=2) | COLD, logits, Context.of([[0]]))
    add_last = chain_stages.apply(COLD | Add(amount=2), logits, Context.of([[0]]))
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


def test_a_chain_hands_arrays_of_another_library_from_stage_to_stage():
    class Divide(Sampler):
        neutral = {"by": 1.0}
        by: float = param(2.0)

        def __call__(self, logits, context):
            assert self.by != 1
            return logits / self.by

    chain = Divide() | Divide(by=1) | Divide(by=4)
    assert chain(8.0, Context.of([[0]])) == 1.0  # any object that divides will do


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


class Declared(Plain):
    """A sampler that declares everything."""

    kind = "penalty"
    neutral = {"a": 0.0, "b": 0}
    reads = {"tokens", "position"}
    is_argmax_invariant = True
    is_shift_invariant = False


def test_every_class_attribute_has_a_default():
    assert (Plain.kind, dict(Plain.neutral)) == ("other", {})
    assert Plain.reads == {"tokens", "position", "surprisal", "model_surprisal", "vocabulary"}
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


def test_a_chain_has_the_attributes_of_its_stages():
    assert (COLD | GREEDY).reads == frozenset()
    assert (COLD | Declared()).reads == {"tokens", "position"}
    assert (COLD | GREEDY).is_argmax_invariant
    assert not (COLD | Plain()).is_argmax_invariant
    assert (COLD | Plain()).is_shift_invariant
    assert not (COLD | Declared()).is_shift_invariant


# sampling_distribution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_have_the_shape_and_dtype_of_the_logits(dtype):
    one = sampling_distribution(COLD, np.zeros(4, dtype))
    many = sampling_distribution(COLD, np.zeros((3, 4), dtype))
    assert (one.shape, one.dtype, many.shape, many.dtype) == ((4,), dtype, (3, 4), dtype)
    assert one.tolist() == [0.25] * 4


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


@pytest.mark.parametrize(
    ("tokens", "time"), [(None, 0), ([], 0), ([1.0, 2.0], 2), (np.array([[3], [4]], np.int32), 1)]
)
def test_the_tokens_of_a_context_are_64_bit_integers(tokens, time):
    seen = []

    class Looks(Sampler):
        def __call__(self, logits, context):
            seen.append((context.tokens.dtype, context.tokens.shape))
            return logits

    sampling_distribution(Looks(), np.zeros((2, 3)), tokens)
    assert seen == [(np.int64, (2, time))]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 2, 3)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"logits must be \(vocabulary,\) or \(batch, vocab"):
        sampling_distribution(GREEDY, np.zeros(shape))


@pytest.mark.parametrize(
    ("logits", "tokens", "message"),
    [
        (
            [[1, 2], [3]],
            None,
            r"logits must be an array of numbers with equal rows, not \[\[1, 2\]",
        ),
        (["a"], None, r"logits must be an array of numbers with equal rows, not \['a'\]"),
        ([1.0, 2.0], "ab", "tokens must be an array of numbers with equal rows, not 'ab'"),
        ([1.0, 2.0], [[1], [2, 3]], "tokens must be an array of numbers with equal rows, not"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(logits, tokens, message):
    with pytest.raises(UsageError, match=message):
        sampling_distribution(GREEDY, logits, tokens)


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


def test_chains_obey_the_laws():
    for law in LAWS["sampler"]:
        law(COLD | corelm.sampler("stochastic") | Add(amount=0.5))
