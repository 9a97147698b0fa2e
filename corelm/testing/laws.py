"""The laws that every sampler obeys, built-in or not.

A law is a function that takes a sampler and raises an AssertionError that names the fault, the
input and the way out. The docstring of a law is the law.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from corelm.contracts.context import Context
from corelm.contracts.declarations import READABLE
from corelm.contracts.language_model import Vocabulary, never_drawn
from corelm.contracts.sampling import Coin, Mask, Sampler
from corelm.contracts.validation import fault_of_mask, fault_of_result, fault_of_toss
from corelm.errors import ParameterError
from corelm.numerics.branches import Branches, mixture_of
from corelm.numerics.distributions import Array, greedy, softmax
from corelm.testing.cases import (
    ALL,
    MODEST,
    Case,
    ContextGuard,
    InvalidResultError,
    answer,
    call,
    cases,
    changed_row,
    differ,
    distinct,
    ends,
    global_random_state,
    holes,
    log,
    point_mass,
    raised,
    rounding,
)
from corelm.testing.law import Law, law_maker

REPEATS = 20
CONSTANTS = (-16.0, 0.5, 128.0)
TIE = 1e-6
"""The largest difference in nats at which two tokens may count as equally likely."""

SAMPLER_LAWS: list[Law] = []
"""The laws of samplers; each takes a sampler and the vocabulary of the contexts."""

Complaints = Iterator[tuple[Case, str]]
Ask = Callable[..., tuple[Case, ...]]
"""A function that returns the cases of some kinds, with the vocabulary of the examination."""

_law = law_maker(
    SAMPLER_LAWS,
    lambda sampler, vocabulary=None: (sampler, partial(cases, vocabulary=vocabulary)),
    lambda sampler, complaint: f"{sampler!r} {complaint[1]} (asked about {complaint[0]})",
)


@_law("")  # `answer` complains, with the way out for the fault
def is_a_distribution(sampler: Sampler, ask: Ask) -> Complaints:
    """Return a valid distribution: same shape and dtype, a finite logit in each row, no NaN."""
    for case in ask(*ALL):
        answer(sampler, case)
    yield from ()


@_law("Work on a copy: use `mask_logits`, `np.where`, or `logits.copy()`.")
def leaves_its_input_alone(sampler: Sampler, ask: Ask) -> Complaints:
    """Leave the given logits unchanged."""
    for case in ask(*ALL):
        logits = case.logits.copy()
        call(sampler, logits, case.context, case)
        if not np.array_equal(logits, case.logits):
            yield case, f"wrote into its input{changed_row(case, logits, logits != case.logits)}"


@_law(
    "A sampler keeps nothing and draws nothing: compute all that varies from `context`, and return "
    "the distribution itself (a coin before the draw is a `corelm.Coin`)."
)
def repeats_itself(sampler: Sampler, ask: Ask) -> Complaints:
    """Give the same answer to the same question: keep no state and draw no random number."""
    random.random(), np.random.random()  # or a seed that an earlier call set would not show
    # Batches that no other law asks about: in those, what is kept may have settled.
    questions = [case.rows([*range(len(case.logits))] * 2) for case in ask(*ALL)]
    before = global_random_state()
    answers = [(result := answer(sampler, case), result.copy()) for case in questions]
    for case, (result, copied) in zip(questions, answers, strict=True):
        if not np.array_equal(result, copied):
            yield case, "wrote a later answer into the array of an earlier one"
    for _ in range(REPEATS):
        for case, (_, expected) in zip(questions, answers, strict=True):
            again = answer(sampler, case)
            if not np.array_equal(again, expected):
                wrong = again != expected
                row = changed_row(case, expected, wrong) + changed_row(case, again, wrong)
                yield case, f"gave two answers to one question{row}"
    if global_random_state() != before:
        yield questions[0], "drew random numbers"


@_law(
    "Reduce over the vocabulary alone: give every sum, mean, maximum and sort axis=-1 "
    "(and keepdims=True), and match the rows of `context` to those of `logits`."
)
def treats_rows_alone(sampler: Sampler, ask: Ask) -> Complaints:
    """Give a row the same answer in any batch and in any order."""
    for case in ask(*ALL):
        together = softmax(answer(sampler, case))
        batch = range(len(together))
        # In reverse, a mix-up of rows shows; alone, a sum or a maximum over the batch does.
        for rows in ([*batch][::-1], *([row] for row in batch)):
            apart = softmax(answer(sampler, case.rows(rows)))
            if not np.allclose(apart, together[rows], rtol=1e-5, atol=1e-7):
                different = differ(apart, together[rows], 1e-5, 1e-7)
                shown = changed_row(case.rows(rows), log(apart), different)
                yield case, f"answered rows {rows} in another way among other rows{shown}"


@_law(
    "Minus infinity means never: pass the result through `mask_logits(result, logits > -np.inf)`."
)
def never_restores_a_token(sampler: Sampler, ask: Ask) -> Complaints:
    """Leave tokens of probability zero at probability zero."""
    for case in ask(holes, point_mass):
        restored = (case.logits == -np.inf) & (answer(sampler, case) > -np.inf)
        for row, token in np.argwhere(restored):
            yield case, f"restored token {token} of row {row}, which was impossible"


ALONE = "The entropy and the deviation of one token are 0; always keep the most likely token."


@_law(ALONE)
def survives_a_point_mass(sampler: Sampler, ask: Ask) -> Complaints:
    """Keep the only possible token of a row possible."""
    for case in ask(point_mass):
        certain = case.logits > -np.inf
        result = answer(sampler, case, ALONE)
        if (result[certain] == -np.inf).any():
            row = changed_row(case, result, certain & (result == -np.inf))
            yield case, f"removed the one token that was possible{row}"


@_law("")  # `answer` complains
def survives_extreme_values(sampler: Sampler, ask: Ask) -> Complaints:
    """Return a valid distribution for the largest and the smallest numbers of a type, too."""
    with np.errstate(all="ignore"):  # a difference may overflow to infinity; only the result counts
        for case in ask(ends):
            answer(sampler, case)
    yield from ()


@_law(
    "Logits are unnormalised: look at their differences, at `logits - logits.max(axis=-1, "
    "keepdims=True)` or at `softmax(logits)`. Where the published definition needs the raw ones, "
    "set `is_shift_invariant = False` in the class."
)
def ignores_a_constant(sampler: Sampler, ask: Ask) -> Complaints:
    """Ignore a constant added to a row, unless `is_shift_invariant` is False."""
    if not sampler.is_shift_invariant:
        return
    for case in ask(*MODEST):
        before = softmax(answer(sampler, case))
        for constant in CONSTANTS:
            shifted = Case(case.logits + case.logits.dtype.type(constant), case.context)
            if not np.allclose(softmax(answer(sampler, shifted)), before, rtol=1e-3, atol=1e-5):
                after = softmax(answer(sampler, shifted))
                row = changed_row(shifted, log(after), differ(after, before, 1e-3, 1e-5))
                yield case, f"changed its answer when {constant:g} was added to every logit{row}"


@_law("Set `is_argmax_invariant = False` in the class, or keep the order of the most likely token.")
def keeps_the_most_likely_token(sampler: Sampler, ask: Ask) -> Complaints:
    """Keep the most likely token the most likely, if `is_argmax_invariant` is True."""
    if not sampler.is_argmax_invariant:
        return
    for case in ask(*ALL):
        before, after = case.logits, answer(sampler, case)
        rows, first = np.arange(len(before)), before.argmax(axis=-1)
        overtaken = after[rows, first] < after.max(axis=-1)
        # Rounding may swap two nearly equal tokens; that isn't an error.
        gap = before.max(axis=-1) - before[rows, after.argmax(axis=-1)]
        wrong = overtaken & (gap > TIE)
        if wrong.any():
            row = changed_row(case, after, wrong)
            yield case, f"made another token more likely than the most likely one{row}"


@_law(
    "The core skips a stage at the values in `neutral`, so the call must agree: return the logits "
    "unchanged at these values, or leave them out of `neutral`."
)
def changes_nothing_when_neutral(sampler: Sampler, ask: Ask) -> Complaints:
    """Change no distribution at the parameter values in `neutral`."""
    questions = ask(*ALL)
    for stage in sampler.stages:
        if not stage.neutral:
            continue
        try:
            neutral = replace(stage, **stage.neutral)  # the other parameters stay as they are
        except ParameterError as error:
            yield questions[0], f"refuses its neutral values: {error}"
            return
        if not neutral.is_neutral:
            yield questions[0], f"has values in `neutral` of another type than {neutral}"
        vars(neutral)["is_neutral"] = False  # or the core would skip the call of a mask or a switch
        for case in questions:
            before, after = softmax(case.logits), softmax(answer(neutral, case))
            if not np.allclose(after, before, rtol=1e-4, atol=1e-6):
                row = changed_row(case, log(after), differ(after, before, 1e-4, 1e-6))
                yield case, f"changed a distribution as {neutral}, which should be neutral{row}"


@_law("Name every part of the context that the sampler looks at in `reads`.")
def reads_only_what_it_declares(sampler: Sampler, ask: Ask) -> Complaints:
    """Read no part of the context that `reads` leaves out."""
    for case in ask(*ALL):
        for stage in sampler.stages:
            guard = ContextGuard(case.context, stage.reads)
            try:
                stage(case.logits.copy(), guard)  # type: ignore[arg-type]
            # Also if the sampler catches the guard's error and fails later.
            except Exception as error:
                if not guard.refused:
                    raise raised(stage, error, case) from error
            if guard.refused:
                yield case, f"read `context.{guard.refused[0]}`, which is not in `reads`"


@_law("A mask writes `allowed` and leaves the rest to the core.")
def is_never_broken(sampler: Sampler, ask: Ask) -> Complaints:
    """Keep a mask in a chain: after any stages, it leaves only tokens that it allows."""
    for mask in (stage for stage in sampler.stages if isinstance(stage, Mask)):
        for case in ask(*ALL):
            allowed = mask.allowed(case.context.with_vocabulary_size(case.logits.shape[-1]))
            if allowed is None or mask.is_neutral:
                continue
            if fault := fault_of_mask(allowed, case.logits.shape):
                yield case, f"allowed {fault}"
            words = case.context.vocabulary
            if words and not np.delete(allowed, never_drawn(words), axis=1).any(axis=-1).all():
                yield case, "allowed only tokens that are never drawn, such as padding"
            # Greedy before the mask leaves one token, so the mask must often fall back.
            alone, after = answer(mask, case), answer(_Likeliest() | mask, case)
            possible = allowed & (case.logits > -np.inf)
            # In the other rows, the model rules out every allowed token.
            able = possible.any(axis=-1)
            if not np.array_equal(alone[able], np.where(possible, case.logits, -np.inf)[able]):
                yield case, "changed the logits of tokens that it allows"
            if (after[able] > -np.inf)[~possible[able]].any():
                yield case, "was broken after a stage that keeps one token"


@_law("Return (batch,) probabilities and two valid distributions; leave the call to the core.")
def mixes_its_outcomes(sampler: Sampler, ask: Ask) -> Complaints:
    """Return the mixture of a coin's two outcomes, each of them a valid distribution."""
    for coin in (stage for stage in sampler.stages if isinstance(stage, Coin)):
        for case in ask(*ALL):
            tossed = coin.toss(case.logits.copy(), case.context)
            faults = [fault_of_toss(tossed, len(case.logits))]
            faults += [fault_of_result(each, case.logits) for each in tossed[1:] if not faults[0]]
            if any(faults):
                yield case, f"tossed {' and '.join(filter(None, faults))}"
                return
            mixture = softmax(mixture_of(Branches.of_toss(*tossed)))
            if not np.allclose(softmax(answer(coin, case)), mixture, rtol=1e-4, atol=1e-6):
                yield case, "returned another distribution than the mixture of its outcomes"


@_law(
    "Look at the logits of a token, not at its id. Where the published definition needs ids, name "
    "'vocabulary' in `reads`."
)
def treats_tokens_alike(sampler: Sampler, ask: Ask) -> Complaints:
    """Follow the tokens when they get other ids, unless `reads` or a parameter names tokens."""
    if any(_needs_ids(stage, ask(distinct)[0]) for stage in sampler.stages):
        return
    rng = np.random.default_rng(2)
    for case in ask(distinct):
        order = rng.permutation(case.logits.shape[1])
        tokens = np.argsort(order)[case.context.tokens]  # token `order[i]` becomes token i
        other = Case(case.logits[:, order], replace(case.context, tokens=tokens))
        first = answer(sampler, case)
        before, rtol = softmax(first)[:, order], rounding(first)
        if not np.allclose(softmax(answer(sampler, other)), before, rtol=rtol, atol=1e-7):
            yield case, "answered in another way when the tokens got other ids"


def _needs_ids(stage: Sampler, case: Case) -> bool:
    """Return True if a stage names tokens, or reads the vocabulary: by default it only may."""
    if "vocabulary" not in stage.reads or _names_tokens(stage):
        return _names_tokens(stage)
    guard = ContextGuard(case.context, stage.reads - {"vocabulary"})
    with suppress(Exception):  # that of the guard, or what the sampler makes of it
        stage(case.logits.copy(), guard)  # type: ignore[arg-type]
    return bool(guard.refused) or stage.reads is not READABLE


def _names_tokens(stage: Sampler) -> bool:
    lists = (p.name for p in stage.parameters() if p.type in (tuple, dict))
    named = any(getattr(stage, name) for name in lists)
    one = any(p.type == int | str for p in stage.parameters())
    inner = (part for nested in stage.nested.values() for part in nested.stages)
    return named or one or any(map(_names_tokens, inner))


class _Likeliest(Sampler):
    """Keep the most likely token alone."""

    reads = frozenset()

    def __call__(self, logits: Array, context: Context) -> Array:
        likeliest: Array = greedy(logits)
        return likeliest


def runs_on_any_library(sampler: Sampler, *, vocabulary: Vocabulary | None = None) -> None:
    """Run on arrays of any library, such as torch or JAX, with the same result as on NumPy's.

    Not every sampler can, so `LAWS["sampler"]` leaves this law out. It needs the package
    array-api-strict.

    Raises:
        AssertionError: the sampler does not; names the stage.
        MissingDependencyError: array-api-strict is not installed.

    Example:
        >>> import corelm
        >>> runs_on_any_library(corelm.sampler("top_p(p=0.9) | temperature(t=0.7)"))
    """
    from corelm.questions import portability  # late: it needs another package

    for stage in sampler.stages:
        if not portability.is_portable(stage):
            raise AssertionError(
                f"{stage!r} does not run on arrays of any library. Use operators, the functions of "
                "`corelm` and `corelm.filters`, and those of `array_namespace(logits)` instead of "
                "NumPy's."
            )


def unless_reported(law: Law, sampler: Sampler, *, vocabulary: Vocabulary | None = None) -> None:
    """Call a law; skip the test for an invalid result that `is_a_distribution` already reports."""
    try:
        law(sampler, vocabulary=vocabulary)
    except InvalidResultError:
        if law is is_a_distribution:
            raise
        try:
            is_a_distribution(sampler, vocabulary=vocabulary)
        except InvalidResultError:
            import pytest

            pytest.skip("mend what is_a_distribution reports first")
        raise
