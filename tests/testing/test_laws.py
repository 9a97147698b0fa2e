"""The authors' test kit: every law catches a bad sampler written on purpose."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest
from faulty import complaint

import corelm
from corelm import Sampler, mask_logits, param, softmax
from corelm.errors import UsageError
from corelm.testing import LAWS, ToyModel, obeys_the_laws
from corelm.testing.cases import cases, eighths
from corelm.testing.laws import (
    changes_nothing_when_neutral,
    ignores_a_constant,
    is_a_distribution,
    keeps_the_most_likely_token,
    leaves_its_input_alone,
    never_restores_a_token,
    reads_only_what_it_declares,
    repeats_itself,
    survives_a_point_mass,
    survives_extreme_values,
    treats_rows_alone,
    treats_tokens_alike,
)


class Good(Sampler):
    """Drop the least likely tokens: exact, stateless, row by row."""

    def __call__(self, logits, context):
        return mask_logits(logits, logits >= logits.max(axis=-1, keepdims=True) - 2)


# Bad samplers, each with one fault


class HiddenCounter(Sampler):
    calls = []

    def __call__(self, logits, context):
        self.calls.append(1)
        return logits / (1 + 0.01 * len(self.calls))


class PrivateRandomness(Sampler):
    def __call__(self, logits, context):
        noise = np.random.default_rng().gumbel(size=logits.shape)
        return (logits + noise).astype(logits.dtype)


class GlobalRandomness(Sampler):
    """The coin changes nothing here; that it is thrown is the fault."""

    def __call__(self, logits, context):
        np.random.random()
        return logits


class MeanOverTheBatch(Sampler):
    def __call__(self, logits, context):
        p = softmax(logits)
        return mask_logits(logits, (p >= p.mean(axis=0)) | (p == p.max(axis=-1, keepdims=True)))


class WritesIntoItsInput(Sampler):
    def __call__(self, logits, context):
        logits[logits < logits.max(axis=-1, keepdims=True) - 2] = -np.inf
        return logits


class RestoresTokens(Sampler):
    def __call__(self, logits, context):
        return np.maximum(logits, logits.max(axis=-1, keepdims=True) - 20)


class RemovesTheOnlyToken(Sampler):
    """Keeps what is less likely than certain: nothing, where one token is certain."""

    def __call__(self, logits, context):
        p = softmax(logits)
        return mask_logits(logits, p < 1)


class MovesTokens(Sampler):
    def __call__(self, logits, context):
        return np.roll(logits, 1, axis=-1)


class NotANumber(Sampler):
    def __call__(self, logits, context):
        with np.errstate(invalid="ignore"):
            return logits - logits.min(axis=-1, keepdims=True)


class PlusInfinity(Sampler):
    def __call__(self, logits, context):
        return np.where(logits == logits.max(axis=-1, keepdims=True), np.inf, logits).astype(
            logits.dtype
        )


class WrongShape(Sampler):
    def __call__(self, logits, context):
        return logits.max(axis=-1)


class WrongType(Sampler):
    def __call__(self, logits, context):
        return logits * np.float64(0.5)


class NoArray(Sampler):
    def __call__(self, logits, context):
        return logits.tolist()


class EmptyRow(Sampler):
    def __call__(self, logits, context):
        return mask_logits(logits, softmax(logits) > 0.9)


class Raises(Sampler):
    def __call__(self, logits, context):
        return logits + context.tokens[:, [-1]].astype(logits.dtype)


class NeedsRawLogits(Sampler):
    def __call__(self, logits, context):
        return np.where(logits > 0, logits / 2, logits * 2)


class SaysThatItNeedsRawLogits(NeedsRawLogits):
    is_shift_invariant = False


class SaysThatItIsOrderless(Sampler):
    """Keep every other token, by id, and claim to look at the logits alone."""

    reads = frozenset()

    def __call__(self, logits, context):
        even = np.arange(logits.shape[-1]) % 2 == 0
        return mask_logits(logits, even | (logits == logits.max(axis=-1, keepdims=True)))


class ShiftsByTheLowest(Sampler):
    """Overflow where the largest and the smallest number meet."""

    def __call__(self, logits, context):
        lowest = np.where(logits > -np.inf, logits, np.inf).min(axis=-1, keepdims=True)
        return logits - lowest


class Inverts(Sampler):
    """Make the least likely token the most likely one."""

    is_argmax_invariant = True

    def __call__(self, logits, context):
        return np.where(logits > -np.inf, -logits, -np.inf).astype(logits.dtype)


class NotNeutral(Sampler):
    """Divide by two at the value that is declared neutral."""

    neutral = {"t": 2.0}
    t: float = param(1.0)

    def __call__(self, logits, context):
        return logits / logits.dtype.type(self.t)


class RefusesItsNeutral(Sampler):
    neutral = {"t": 0.0}
    t: float = param(1.0, gt=0)

    def __call__(self, logits, context):
        return logits


class ReadsTokens(Sampler):
    """Look at the tokens and declare the step alone."""

    reads = frozenset({"position"})

    def __call__(self, logits, context):
        past = context.tokens, context.position
        return logits if past else -logits


class SwallowsTheRefusal(Sampler):
    """Look at the surprisals where there are any, and pass over every error."""

    reads = frozenset()

    def __call__(self, logits, context):
        with contextlib.suppress(Exception):
            context.surprisal.sum()
        return logits


class KeepsABuffer(Sampler):
    """Write each answer into the same array."""

    def __call__(self, logits, context):
        buffer = BUFFERS.setdefault((logits.shape, logits.dtype), np.empty_like(logits))
        buffer[...] = logits
        return buffer


BUFFERS = {}

STATEFUL = {repeats_itself, treats_rows_alone, treats_tokens_alike, ignores_a_constant}
ONE_FAULT = [
    (KeepsABuffer(), {repeats_itself}),
    (HiddenCounter(), STATEFUL),
    (PrivateRandomness(), STATEFUL),
    (GlobalRandomness(), {repeats_itself}),
    (MeanOverTheBatch(), {treats_rows_alone}),
    (WritesIntoItsInput(), {leaves_its_input_alone}),
    (RestoresTokens(), {never_restores_a_token}),
    (NeedsRawLogits(), {ignores_a_constant}),
    (SaysThatItIsOrderless(), {treats_tokens_alike}),
    (ShiftsByTheLowest(), {survives_extreme_values}),
    (Inverts(), {keeps_the_most_likely_token}),
    (NotNeutral(), {changes_nothing_when_neutral}),
    (RefusesItsNeutral(), {changes_nothing_when_neutral}),
    (ReadsTokens(), {reads_only_what_it_declares}),
    (SwallowsTheRefusal(), {reads_only_what_it_declares}),
]
"""Samplers whose results are distributions, and the laws that they break: no other one."""

NO_DISTRIBUTION = [
    (NotANumber(), "returned NaN", "Subtract the largest logit"),
    (PlusInfinity(), "returned +infinity", "finite or minus infinity"),
    (WrongShape(), "returned the shape (1,) instead of (1, 1)", "keepdims=True"),
    (WrongType(), "returned float64 instead of float32", "astype(logits.dtype)"),
    (NoArray(), "returned list instead of an array", "as a NumPy array"),
    (EmptyRow(), "returned a row in which every token is impossible", "most likely token"),
    (Raises(), "raised IndexError", "an empty one too"),
]
"""Samplers whose results are none, what the law says is wrong, and what it says to do."""


def broken_by(sampler):
    """The laws that a sampler breaks."""
    return {law for law in LAWS["sampler"] if complaint(law, sampler)}


@obeys_the_laws(Good(), SaysThatItNeedsRawLogits(), Good() | SaysThatItNeedsRawLogits())
def test_a_good_sampler_obeys_every_law(sampler, law):
    law(sampler)


@pytest.mark.parametrize(
    ("sampler", "laws"),
    ONE_FAULT,
    ids=lambda value: repr(value)[:30] if not isinstance(value, set) else "laws",
)
def test_a_fault_is_caught_by_its_law_and_no_other(sampler, laws):
    assert broken_by(sampler) == laws


@pytest.mark.parametrize(("sampler", "what", "way_out"), NO_DISTRIBUTION, ids=repr)
def test_an_invalid_result_is_named_with_the_way_out(sampler, what, way_out):
    message = complaint(is_a_distribution, sampler)
    assert message.startswith(f"{sampler!r} {what}")
    assert way_out in message


def test_a_sampler_that_removes_the_only_token_is_caught():
    assert survives_a_point_mass in broken_by(RemovesTheOnlyToken())
    assert "keep the most likely token" in complaint(survives_a_point_mass, RemovesTheOnlyToken())


def test_a_sampler_that_moves_the_only_token_is_caught():
    message = complaint(survives_a_point_mass, MovesTokens())
    assert message.startswith("MovesTokens() removed the one token that was possible")


@pytest.mark.parametrize("law", [repeats_itself, treats_rows_alone, never_restores_a_token])
def test_other_laws_refuse_an_invalid_result_too(law):
    assert "returned the shape" in complaint(law, WrongShape())


@pytest.mark.parametrize(
    ("law", "sampler", "way_out"),
    [
        (repeats_itself, HiddenCounter(), "A sampler keeps nothing and draws nothing"),
        (repeats_itself, GlobalRandomness(), "a coin before the draw is a `corelm.Coin`"),
        (treats_rows_alone, MeanOverTheBatch(), "axis=-1"),
        (leaves_its_input_alone, WritesIntoItsInput(), "Work on a copy"),
        (never_restores_a_token, RestoresTokens(), "mask_logits(result, logits > -np.inf)"),
        (ignores_a_constant, NeedsRawLogits(), "is_shift_invariant = False"),
        (treats_tokens_alike, SaysThatItIsOrderless(), "name 'vocabulary' in `reads`"),
        (keeps_the_most_likely_token, Inverts(), "`is_argmax_invariant = False`"),
        (
            changes_nothing_when_neutral,
            NotNeutral(),
            "changed a distribution as not_neutral(t=2.0)",
        ),
        (changes_nothing_when_neutral, NotNeutral(), "or leave them out of `neutral`"),
        (
            changes_nothing_when_neutral,
            RefusesItsNeutral(),
            "refuses its neutral values: t must be above 0, not 0.0",
        ),
        (reads_only_what_it_declares, ReadsTokens(), "read `context.tokens`, which is not in"),
        (reads_only_what_it_declares, SwallowsTheRefusal(), "read `context.surprisal`, which is"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_law_says_what_to_do(law, sampler, way_out):
    message = complaint(law, sampler)
    assert message.startswith(repr(sampler))
    assert way_out in message


def test_samplers_that_name_words_are_examined_with_a_vocabulary():
    ban = corelm.sampler("ban", words=["cat"])
    assert "raised UsageError: ban: the word 'cat' has no id" in complaint(repeats_itself, ban)
    mark = obeys_the_laws(ban, vocabulary=ToyModel().vocabulary).mark
    assert mark.kwargs["ids"][0] == "Ban(words=('cat',))-is_a_distribution"
    assert len(mark.args[1]) == len(LAWS["sampler"])
    for sampler, law in mark.args[1]:
        law(sampler)


def test_a_declared_part_of_the_context_may_be_read():
    class Reads(Sampler):
        reads = frozenset({"tokens", "position"})

        def __call__(self, logits, context):
            past = context.drawn, context.prompt_length, context.tokens, context.position
            return logits if past else -logits

    reads_only_what_it_declares(Reads())
    reads_only_what_it_declares(Good() | Reads())
    with pytest.raises(AssertionError, match=r"read `context.drawn`, which is not in `reads`"):
        reads_only_what_it_declares(type("Less", (Reads,), {"reads": frozenset({"position"})})())


def test_a_fault_of_the_sampler_is_not_taken_for_a_reading():
    with pytest.raises(AssertionError, match="raised IndexError: index -1 is out of bounds"):
        reads_only_what_it_declares(Raises())


def test_tokens_that_parameters_name_may_be_treated_in_another_way():
    class Special(Sampler):
        reads = frozenset()
        ids: tuple[int, ...] = param(())

        def __call__(self, logits, context):
            named = np.isin(np.arange(logits.shape[-1]), self.ids)
            return np.where(named, logits - 1, logits).astype(logits.dtype)

    treats_tokens_alike(Special())
    treats_tokens_alike(Special(ids=(1,)))


class InNumPy(Sampler):
    """Work on NumPy's arrays alone."""

    def __call__(self, logits, context):
        return np.where(logits > 0, logits, logits)


def test_portability_is_a_law_of_its_own():
    [law] = LAWS["portable"]
    law(corelm.sampler("temperature(t=0.5) | min_p(p=0.1)"))
    with pytest.raises(AssertionError, match=r"^InNumPy\(\) does not run on arrays of any library"):
        law(corelm.sampler("temperature(t=0.5)") | InNumPy())
    assert law not in LAWS["sampler"]


def test_portability_is_examined_where_it_is_asked_for():
    plain, portable = (obeys_the_laws(InNumPy(), portable=asked).args[1] for asked in (False, True))
    assert len(portable) == len(plain) + 1
    sampler, law = portable[-1]
    with pytest.raises(AssertionError, match=r"^InNumPy\(\) does not run on arrays of any library"):
        law(sampler)
    with pytest.raises(UsageError, match=r"^the laws of a model take no portable$"):
        obeys_the_laws(ToyModel(), portable=True)


def test_cases_come_in_both_types_and_with_the_vocabulary():
    vocabulary = ToyModel().vocabulary
    asked = cases(eighths, vocabulary=vocabulary)
    assert {case.logits.dtype for case in asked} == {np.dtype("f4"), np.dtype("f8")}
    assert {case.logits.shape for case in asked} == {(1, 13), (3, 13)}
    assert {case.context.position for case in asked} == {0, 7}
    assert all(case.context.vocabulary is vocabulary for case in asked)
    assert all(case.context.vocabulary is None for case in cases(eighths))


def test_nothing_to_test_is_refused():
    with pytest.raises(UsageError, match="one sampler, decoder, model or metric, all of one kind"):
        obeys_the_laws()


def test_an_option_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="the laws of a sampler take no tolerance"):
        obeys_the_laws(Good(), tolerance=0)
    with pytest.raises(UsageError, match="the laws of a model take no vocabulary"):
        obeys_the_laws(ToyModel(), vocabulary=ToyModel().vocabulary)


def test_a_class_in_the_place_of_a_sampler_is_refused():
    with pytest.raises(UsageError, match=r"such as TopP\(p=0.9\) and Beam.*, not <class"):
        obeys_the_laws(Good)


def test_pytest_is_imported_only_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest", None)
    for law in LAWS["sampler"]:
        law(Good())
    with pytest.raises(ImportError):
        obeys_the_laws(Good())


class Drops(Sampler):
    """Return the first token alone, a wrong shape."""

    def __call__(self, logits, context):
        return logits[:, :1]


class NoContext(Sampler):
    """Take no context."""

    def __call__(self, logits):
        return logits


@pytest.mark.parametrize("sampler", [Drops(), NoContext()])
def test_one_mistake_is_one_failure(sampler):
    outcomes = {}
    for each, law in obeys_the_laws(sampler).args[1]:
        try:
            law(each)
        except AssertionError:
            outcomes[law.args[0].__name__] = "failed"
        except pytest.skip.Exception:
            outcomes[law.args[0].__name__] = "skipped"
    assert [name for name, outcome in outcomes.items() if outcome == "failed"] == [
        "is_a_distribution"
    ]
    assert len(outcomes) > 5


class WithoutARow(Sampler):
    """Make the rows after the first one impossible."""

    def __call__(self, logits, context):
        return np.where(np.arange(len(logits))[:, None] > 0, -np.inf, logits).astype(logits.dtype)


def test_a_message_has_the_row_and_the_result():
    with pytest.raises(AssertionError, match=r"; row 1: \[.+\] became \[-inf, -inf\] \(asked"):
        is_a_distribution(WithoutARow())
