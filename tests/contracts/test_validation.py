"""The checks on samplers: their class attributes, and the results of their stages."""

from __future__ import annotations

import ctypes
import warnings

import numpy as np
import pytest
from faulty import Plain

import corelm
import corelm.testing
from corelm import Context, ParameterError, Sampler, param
from corelm.contracts.chain_stages import run_stages
from corelm.contracts.validation import invalid_result
from corelm.errors import ModelOutputError, PluginError, SamplerError, UsageError
from corelm.runs import ModelLogits, chain_stages

INF = float("inf")
GREEDY = corelm.sampler("greedy")
COLD = corelm.sampler("temperature", t=0.5)


def returns(value):
    """Return a sampler that returns a fixed value and ignores the logits."""

    class Named(Sampler):
        def __call__(self, logits, context):
            return value

    return Named()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("neutral", {"kind": "filter"}, "neutral must map parameters to values, not be {'kind': "),
        ("neutral", "a", "neutral must map parameters to values, not be 'a'; the parameters are: "),
        (
            "reads",
            None,
            "reads must be a set of model_surprisal, position, surprisal, tokens, vocabu",
        ),
        ("is_argmax_invariant", 1, "is_argmax_invariant must be True or False, not 1"),
    ],
)
def test_a_class_attribute_outside_the_contract_is_refused_with_the_class(name, value, message):
    with pytest.raises(PluginError) as caught:
        type("Odd", (Plain,), {name: value})
    assert str(caught.value).startswith(f"not a sampler: Odd.{message}")


def test_the_refusal_of_neutral_values_lists_the_parameters():
    def refusal(base):
        with pytest.raises(PluginError) as caught:
            type("Odd", (base,), {"neutral": {"c": 1}})
        return str(caught.value)

    wrong = "not a sampler: Odd.neutral must map parameters to values, not be {'c': 1}; "
    assert refusal(Plain) == wrong + "the parameters are: a, b"
    assert refusal(type(GREEDY)) == wrong + "the parameters are: none"


# Running the stages


class Off(Plain):
    """A sampler that is neutral."""

    neutral = {"a": 0.0}


OFF = Off(a=0)


def test_neutral_stages_are_not_called():
    class Refuses(Sampler):
        neutral = {"on": False}
        on: bool = param(True)

        def __call__(self, logits, context):
            raise AssertionError("called")

    off, logits = Refuses(on=False), np.array([[0.0, 1.0]])
    assert chain_stages.apply(off, logits, Context.of([[0]])) is logits
    assert chain_stages.apply(off | off, logits, Context.of([[0]])) is logits
    assert (off | off).is_neutral
    between = chain_stages.apply(off | COLD | off, logits, Context.of([[0]]))
    assert between.tolist() == chain_stages.apply(COLD, logits, Context.of([[0]])).tolist()
    assert not (off | COLD).is_neutral
    with pytest.raises(SamplerError, match="refuses\\(on=True\\) failed"):
        chain_stages.apply(COLD | Refuses(), logits, Context.of([[0]]))


def test_the_stages_can_run_without_the_last_check():
    invalid = np.full((1, 2), np.nan)
    result = run_stages(COLD | returns(invalid), np.zeros((1, 2)), Context.of([[0]]))
    assert np.isnan(result).all()
    error = invalid_result((COLD | returns(invalid) | OFF)._last_stage, result, step=4)
    assert str(error) == "named returned NaN at step 4, row 0"
    with pytest.raises(SamplerError, match="named returned NaN at step 0, row 0"):
        run_stages(returns(invalid) | COLD, np.zeros((1, 2)), Context.of([[0]]))


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
        (
            np.ma.masked_array(np.zeros((2, 3)), [[False, True, True]] * 2),
            "returned MaskedArray, a subclass of np.ndarray, instead of an array of NumPy's own "
            "type at step 7",
        ),
        (
            np.zeros((2, 3)).view(np.matrix),
            "returned matrix, a subclass of np.ndarray, instead of an array of NumPy's own type "
            "at step 7",
        ),
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
        chain_stages.apply(GREEDY | returns(value) | GREEDY, LOGITS, LATER)
    assert str(caught.value) == f"named {message}"


def test_of_several_bad_rows_the_first_one_is_named():
    rows = np.array([[0.0, 0.0], [-INF, -INF], [np.nan, 0.0]])
    with pytest.raises(SamplerError, match="every token is impossible at step 0, row 1"):
        chain_stages.apply(returns(rows), np.zeros((3, 2)), Context.of(np.zeros((3, 1), dtype=int)))


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (ValueError, SamplerError, "fails failed at step 7: ValueError: no good"),
        (ZeroDivisionError, SamplerError, "fails failed at step 7: ZeroDivisionError: no good"),
        (SystemExit, SamplerError, "fails failed at step 7: SystemExit: no good"),
        (UsageError, UsageError, "fails: no good"),
        (ParameterError, UsageError, "fails: no good"),
        (KeyboardInterrupt, KeyboardInterrupt, "no good"),  # an interruption is not wrapped
    ],
)
def test_an_exception_of_a_sampler_is_wrapped_with_its_name_and_step(error, raised, message):
    class Fails(Sampler):
        def __call__(self, logits, context):
            raise error("no good")

    with pytest.raises(raised) as caught:
        chain_stages.apply(COLD | Fails(), LOGITS, LATER)
    assert str(caught.value) == message
    assert raised is not SamplerError or isinstance(caught.value.__cause__, error)


def test_the_input_is_read_only():
    class Writes(Sampler):
        def __call__(self, logits, context):
            logits[0, 0] = 5
            return logits

    logits = np.zeros((2, 3))
    with pytest.raises(SamplerError, match=r"writes failed at step 7: ValueError: .*read-only"):
        chain_stages.apply(Writes(), logits, LATER)
    assert logits[0, 0] == 0
    assert logits.flags.writeable


def by_torch(array):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the array is read-only
        torch.from_numpy(array)[...] = 5
    return array


def by_setflags(array):
    array.setflags(write=True)
    array[...] = 5
    return array


def by_the_base(array):
    base = array if array.base is None else array.base
    base.setflags(write=True)
    base[...] = 5
    return array


def by_ctypes(array):
    ctypes.memset(array.ctypes.data, 0x41, array.nbytes)
    return array


TORCH = pytest.param(by_torch, marks=pytest.mark.engines("torch"))
WAYS = pytest.mark.parametrize("write", [TORCH, by_setflags, by_the_base, by_ctypes])


@WAYS
def test_a_write_around_the_flag_reaches_nobody_else(write):
    class Writes(Sampler):
        def __call__(self, logits, context):
            for array in (context.tokens, context.surprisal, context.model_surprisal):
                write(array)
            return write(logits)

    logits, context = np.zeros((2, 3)), Context.of(np.ones((2, 9), dtype=int), prompt_length=2)
    trace = []
    result = chain_stages.apply(COLD | Writes(), logits, context, trace)
    assert (result > 1).all()
    assert not logits.any()
    assert not trace[0].logits.any()
    assert (context.tokens == 1).all()
    assert np.isnan(context.surprisal).all()
    assert np.isnan(context.model_surprisal).all()


@WAYS
def test_a_mask_and_a_choice_cannot_change_the_context(write):
    class Writes(corelm.Mask):
        def allowed(self, context):
            write(context.tokens)

    class Chooses(corelm.Switch):
        inner: Sampler = param(COLD)

        def choose(self, context):
            write(context.tokens)
            return [self.inner] * context.batch

    context = Context.of(np.ones((2, 9), dtype=int))
    for sampler in (Writes(), Chooses()):
        chain_stages.apply(sampler, np.zeros((2, 3)), context)
        assert (context.tokens == 1).all()


@WAYS
def test_an_explanation_shows_the_model_as_it_is(write):
    class Writes(Sampler):
        def __call__(self, logits, context):
            possible = logits > -np.inf
            return corelm.mask_logits(write(logits), possible)

    model = corelm.testing.ToyModel()
    before, after = (
        corelm.explain(model, "the", sampler).stages[0].entropy for sampler in (GREEDY, Writes())
    )
    assert before == after


def test_a_masked_array_is_refused_and_not_stripped_of_its_mask():
    masked = np.ma.masked_array([0.0, 1.0], [False, True])
    with pytest.raises(UsageError, match=r"not a MaskedArray; fill it with -np\.inf"):
        corelm.sampling_distribution(GREEDY, masked)

    class Hides(corelm.Mask):
        def allowed(self, context):
            return np.ma.masked_array(np.ones((1, 2), bool), [[False, True]])

    with pytest.raises(SamplerError, match="hides allowed MaskedArray, a subclass"):
        chain_stages.apply(Hides(), np.zeros((1, 2)), Context.of([[0]]))


def test_masked_logits_of_a_model_are_refused():
    prepare = ModelLogits(corelm.testing.ToyModel().vocabulary)
    with pytest.raises(ModelOutputError, match="must be a plain array, not a MaskedArray"):
        prepare(np.ma.masked_array(np.zeros((1, 12), np.float32)), 0)


class Returns(Sampler):
    """Return something other than logits."""

    how: str = param("softmax", "what it returns")

    def __call__(self, logits, context):
        return corelm.softmax(logits) if self.how == "softmax" else np.maximum(logits, -20)


@pytest.mark.parametrize("how", ["softmax", "maximum"])
@pytest.mark.parametrize("before", ["", "top_k(k=3) | "])
def test_a_token_that_is_never_drawn_comes_back_at_the_first_step(how, before):
    chain = Returns(how) if not before else corelm.sampler("top_k(k=3)") | Returns(how)
    with pytest.raises(SamplerError, match=r"restored token 0, which is never drawn, at step 0; "):
        corelm.generate("imdb", "This movie", sampler=chain, length=1, seed=1)


def test_probabilities_are_no_logits_where_every_token_may_be_drawn():
    words = [f"w{i}" for i in range(9)]
    endless = corelm.testing.ToyModel(words, end=False)
    endless.vocabulary.padding = endless.vocabulary.unknown = None
    with pytest.raises(SamplerError, match=r"returned probabilities at step 0; return logits"):
        corelm.generate(endless, "w1", sampler=Returns(), length=1, seed=1)


def test_a_sampler_that_returns_one_buffer_is_explained_rightly():
    class Buffered(Sampler):
        def __call__(self, logits, context):
            if not hasattr(type(self), "buffer"):
                type(self).buffer = np.empty_like(logits)
            type(self).buffer[...] = logits / (1 + len(context.tokens[0]))
            return type(self).buffer

    steps = [*corelm.stream("imdb", "This movie", sampler=Buffered(), length=3, seed=1)]
    del Buffered.buffer
    alone = [step.entropy[0] for step in
             corelm.stream("imdb", "This movie", sampler=Buffered(), length=3, seed=1)]  # fmt: skip
    assert [step.entropy[0] for step in steps] == alone
