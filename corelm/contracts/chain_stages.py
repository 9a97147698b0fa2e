"""Run a sampler's stages: the one place where the core calls samplers, masks, switches and coins.

After a coin the stages act on each of its branches, and the mixture is made at the end.

The functions check what each stage returns, and can record it in a trace. Explanations and the cost
of constraints read that trace, so that no stage is called a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm.contracts.context import Context, ListingContext
from corelm.contracts.validation import (
    check_result,
    check_stage,
    fault_of_array,
    fault_of_mask,
    fault_of_toss,
)
from corelm.errors import SamplerError, UsageError
from corelm.numerics.arrays import in_library_of
from corelm.numerics.branches import Branches, mixture_of, parts_of, rows_of
from corelm.numerics.distributions import Array
from corelm.numerics.masks import Forbidden, apply_mask, forbid_tokens
from corelm.text.printable import message_of

if TYPE_CHECKING:  # samplers make chains, chains run stages, and stages are samplers
    from corelm.contracts.sampling import Coin, Mask, Sampler, Switch

__all__ = ["apply"]

Rows = NDArray[np.bool_]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class StageResult:
    """The result of one stage for a batch.

    Attributes:
        stage: the sampler.
        logits: (batch, vocabulary) its result; for a neutral stage, its input. After a coin, the
            mixture of the branches.
        rows: (batch,) the rows in which it acts; None for all. A choice lets different samplers
            act in different rows.
        branch: the choice and its parameter that let the stage act, such as `phase outside`.
        allowed: (batch, vocabulary) for a mask, True for the tokens that it allows; None for all.
        fell_back: (batch,) for a mask, the rows in which no token that it allows was left.
    """

    stage: Sampler
    logits: Array
    rows: Rows | None = None
    branch: str = ""
    allowed: NDArray[np.bool_] | None = None
    fell_back: Rows | None = None


class Place(NamedTuple):
    """The place of a stage.

    Attributes:
        rows, branch: as in its `StageResult`.
        follows: another stage acts after it.
    """

    rows: Rows | None = None
    branch: str = ""
    follows: bool = False


def apply(
    sampler: Sampler, logits: Array, context: Context, trace: list[StageResult] | None = None
) -> Array:
    """Call a sampler stage by stage and check every result, the last one too.

    Stages at their neutral values are skipped.

    Args:
        sampler: a sampler or a chain.
        logits: (batch, vocabulary), each row a valid distribution.
        context: the past of each row.
        trace: gets the result of each stage, neutral ones included.

    Returns:
        (batch, vocabulary) logits to draw from; `logits` itself where every stage is neutral, or
        a built-in sampler that returns its input.

    Raises:
        SamplerError: a stage raised or returned invalid logits; names stage, step and row.
        UsageError: a stage cannot do its work here, such as find a word; names the stage.

    Example:
        >>> import corelm, numpy
        >>> greedy = corelm.sampler("greedy")
        >>> apply(greedy, numpy.array([[0.0, 1.0]]), corelm.Context.of([[0]])).tolist()
        [[-inf, 0.0]]
    """
    run = Run(logits, context, trace)
    result = run(sampler, logits)
    if result is not logits and run.checked and not run.is_valid:
        check_result(sampler._last_stage, result, context)
    return result


def run_stages(
    sampler: Sampler,
    logits: Array,
    context: Context,
    trace: list[StageResult] | None = None,
    model_logits: Array | None = None,
) -> Array:
    """Call a sampler stage by stage; leave the rows of the last result for the caller to check.

    `apply` checks them with `check_result`. The decoding loop leaves that to the draw, which
    finds invalid rows as a by-product. Arrays of another library than NumPy are not checked.

    Args, returns and raises: as for `apply`; `model_logits` are what masks fall back to, by default
        the logits.
    """
    model = logits if model_logits is None else model_logits
    return Run(model, context, trace)(sampler, logits)


class Run:
    """One call of a sampler. A stage's class decides if `call`, `mask`, `switch` or `toss` runs it.

    Args:
        model_logits: the input of the first stage; a mask falls back to it.
        context: the past of each row.
        trace: gets the result of each stage; None records nothing.
        masks_alone: call no stage but masks and switches.

    Attributes:
        checked: results are checked, as they are NumPy's.
        is_valid: the last stage's result is known to be valid, so it needs no check.
    """

    is_valid = False

    def __init__(
        self,
        model_logits: Array,
        context: Context,
        trace: list[StageResult] | None,
        masks_alone: bool = False,
    ) -> None:
        self._model_logits, self._trace = model_logits, trace
        self._context, self._masks_alone = context, masks_alone
        # Arrays of other libraries may be traced by a compiler, which has no values to look at.
        self.checked = isinstance(model_logits, np.ndarray)

    def __call__(self, sampler: Sampler, logits: Array) -> Array:
        """Call the stages of a sampler, and return the logits to draw from."""
        trace = self._trace
        try:
            return mixture_of(self.chain(sampler, logits, Place()))
        finally:
            # Only now: a mixture of mixtures may differ from the result in the last bit.
            if trace and any(isinstance(each.logits, Branches) for each in trace):
                trace[:] = [replace(each, logits=mixture_of(each.logits)) for each in trace]

    def chain(self, sampler: Sampler, logits: Array, place: Place) -> Array | Branches:
        """Call the stages of a sampler, and return the last one's result."""
        last: Sampler | None = None
        result: Array | Branches = logits
        left, before_others = len(sampler.active_stages), Place(place.rows, place.branch, True)
        # A trace lists neutral stages too; without one they aren't even visited.
        for stage in sampler.stages if self._trace is not None else sampler.active_stages:
            if last is not None and self.checked:  # the model's logits were checked before
                for _, logits in parts_of(result):
                    check_result(last, logits, self._context)
            left -= not stage.is_neutral
            here, self.is_valid = before_others if left else place, False
            by = "_on_each" if isinstance(result, Branches) else stage._acts_by
            result = getattr(self, by)(stage, result, here)
            last = None if stage.is_neutral or self.is_valid else stage
        return result

    def _on_each(self, stage: Sampler, branches: Branches, place: Place) -> Array | Branches:
        """Run a stage on each branch."""
        act, trace = getattr(self, stage._acts_by), self._trace
        traces, outcomes = list[list[StageResult]](), []
        for _, logits in branches.parts:
            if trace is not None:
                self._trace = []
                traces.append(self._trace)
            outcomes.append(act(stage, logits, place))
        self._trace = trace
        if trace is not None:
            # A switch chooses by the context, so that each branch has the same stages.
            trace.extend(_mixed(branches, each) for each in zip(*traces, strict=True))
        self.is_valid = False  # of the last branch alone
        return branches.then(outcomes)

    def call(self, stage: Sampler, logits: Array, place: Place) -> Array:
        """Call a stage, unless it is neutral or only masks are wanted."""
        if not stage.is_neutral and not self._masks_alone:
            own, context = self._input(stage, logits)
            logits = self._output(stage, self._guarded(stage, stage, own, context), own, logits)
        self._note(stage, logits, place)
        return logits

    def toss(self, stage: Coin, logits: Array, place: Place) -> Array | Branches:
        """Return the branches of a coin, or their mixture if no stage follows."""
        is_last = not place.follows
        is_whole = is_last and stage._is_built_in and hasattr(stage, "kernels")
        if stage.is_neutral or self._masks_alone or is_whole:
            return self.call(stage, logits, place)
        result = self._branches(stage, logits)
        result = mixture_of(result) if is_last else result
        self._note(stage, result, place)
        return result

    def mask(self, stage: Mask, logits: Array, place: Place) -> Array:
        """Set the logits of the tokens that a mask forbids to minus infinity."""
        allowed = None if stage.is_neutral else self._allowed(stage, logits)
        fell_back: Rows | None = None
        if allowed is not None:
            logits, fell_back = self._masked(logits, allowed)
        if self._trace is not None and isinstance(allowed, Forbidden):
            allowed = allowed.allowed(logits.shape)
        self._note(stage, logits, place, allowed, fell_back)
        return logits

    def _masked(
        self, logits: Array, allowed: NDArray[np.bool_] | Forbidden
    ) -> tuple[Array, NDArray[np.bool_]]:
        if isinstance(allowed, Forbidden):
            if self.checked:
                allowed_logits, self.is_valid = forbid_tokens(logits, *allowed)
                if self.is_valid:
                    return allowed_logits, np.zeros(len(logits), dtype=bool)
            allowed = allowed.allowed(logits.shape)
        return apply_mask(logits, allowed, self._model_logits)

    def _note(self, stage: Sampler, logits: Any, place: Place, *of_mask: Any) -> None:
        if self._trace is not None:
            self._trace.append(StageResult(stage, logits, place.rows, place.branch, *of_mask))

    def _chosen(self, stage: Switch) -> Sequence[Sampler]:
        """Return the sampler that a switch chooses for each row."""
        chosen = self._guarded(stage, stage.choose, self._context_of(stage))
        wanted = self._context.batch
        is_list = isinstance(chosen, Sequence) and len(chosen) == wanted
        if not is_list or not all(hasattr(type(each), "active_stages") for each in chosen):
            raise SamplerError(f"{stage} must choose a sampler for each of {wanted} rows: {chosen}")
        for each in () if stage._is_built_in else chosen:
            is_covered = each.reads <= stage.reads and stage.has_masks >= each.has_masks
            is_covered &= stage._coins >= each._coins
            if each not in stage.nested.values() and (each == stage or not is_covered):
                raise SamplerError(
                    f"{stage} chose {each}, which is none of its parameters; declare it as one, so "
                    "that what it reads, masks and tosses is known: `then: Sampler = param(...)`"
                )
        return chosen

    def switch(self, stage: Switch, logits: Array, place: Place) -> Array | Branches:
        """Run each sampler that a switch chooses; its result goes to the rows it was chosen for."""
        chosen = self._chosen(stage)
        distinct = list(dict.fromkeys(chosen))
        if len(distinct) == 1:
            place = place._replace(branch=_extended(place.branch, stage, distinct[0]))
            return self.chain(distinct[0], logits, place)
        outcomes = []
        for sampler in distinct:
            mine = np.array([each == sampler for each in chosen])
            within = mine if place.rows is None else mine & place.rows
            # On all rows, even if few are used: for most samplers that costs no more, and no
            # sampler has to support a subset of rows.
            branch = _extended(place.branch, stage, sampler)
            after = self.chain(sampler, logits, Place(within, branch, place.follows))
            outcomes.append((in_library_of(logits, mine), after))
        self.is_valid = False  # of the last sampler alone
        return rows_of(outcomes)

    def _allowed(self, stage: Mask, logits: Array) -> NDArray[np.bool_] | Forbidden | None:
        context, size = self._context_of(stage), logits.shape[-1]
        if stage._is_built_in and type(context) is Context:  # not one that watches what is read
            sized: Context = ListingContext.like(context, size)
        else:
            sized = context.with_vocabulary_size(size)
        allowed = self._guarded(stage, stage.allowed, sized)
        if allowed is None or isinstance(allowed, Forbidden):
            return allowed
        fault = fault_of_mask(allowed, logits.shape)
        # Where a built-in list bans every token, the likeliest one stays.
        if not (fault or stage._is_built_in) and not (some := allowed.any(axis=-1)).all():
            fault = f"no token of row {int(some.argmin())}"
        if fault:
            raise SamplerError(f"{stage} allowed {fault} at step {context.position}")
        # A stage may return one buffer at each step.
        return allowed if stage._is_built_in else allowed.copy()

    def _branches(self, stage: Coin, logits: Array) -> Array | Branches:
        """Toss a coin, and check its probability and both outcomes."""
        own, context = self._input(stage, logits)
        result = self._guarded(stage, stage.toss, own, context)
        if self.checked and (fault := fault_of_toss(result, len(logits))):
            raise SamplerError(f"{stage} tossed {fault} at step {self._context.position}")
        probability, *outcomes = result
        heads, tails = (self._output(stage, outcome, own, logits) for outcome in outcomes)
        return Branches.of_toss(probability, heads, tails)

    def _input(self, stage: Sampler, logits: Array) -> tuple[Array, Context]:
        """Return read-only logits and the context for a call of a stage."""
        context = self._context_of(stage)
        if not self.checked:
            return logits, context
        # The flag stops NumPy alone: torch, `setflags` and `.base` write despite it.
        own = logits.view() if context is self._context else logits.copy()
        own.flags.writeable = False
        return own, context

    def _output(self, stage: Sampler, result: Array, own: Array, logits: Array) -> Array:
        """Return what a stage made of its own copy of the logits, checked."""
        if not self.checked:
            return result
        if result is own and stage._is_built_in:  # the stage returned its input unchanged
            return logits
        if fault := fault_of_array(result, logits):
            raise SamplerError(f"{stage} returned {fault} at step {self._context.position}")
        if stage._is_built_in:
            return result
        check_stage(stage, result, self._model_logits, self._context)
        return result.copy()  # a stage may return one buffer at each step

    def _context_of(self, stage: Sampler) -> Context:
        """Return the context; a third-party stage gets a copy of its own."""
        if not self.checked or stage._is_built_in:
            return self._context
        return self._context.copy()

    def _guarded(self, stage: Sampler, work: Callable[..., T], *arguments: object) -> T:
        try:
            return work(*arguments)
        except UsageError as error:  # such as a word that the vocabulary lacks
            raise UsageError(f"{stage.name}: {message_of(error)}") from error
        except (KeyboardInterrupt, SamplerError):  # a SamplerError already names the inner sampler
            raise
        except BaseException as error:  # a plugin's SystemExit must not end the program
            if not self.checked:  # another library's array: callers catch its errors by type
                raise
            reason = f"{type(error).__name__}: {message_of(error)}"
            raise SamplerError(
                f"{stage} failed at step {self._context.position}: {reason}"
            ) from error


def _mixed(branches: Branches, results: Sequence[StageResult]) -> StageResult:
    """Return the result of a stage that acted on each branch, with branches as its logits."""
    logits: Any = branches.then(result.logits for result in results)
    falls = [
        result.fell_back & (weights > 0)
        for result, (weights, _) in zip(results, branches.parts, strict=True)
        if result.fell_back is not None
    ]
    fell_back = np.logical_or.reduce(falls) if falls else None
    return replace(results[0], logits=logits, fell_back=fell_back)


def _extended(branch: str, stage: Switch, chosen: Sampler) -> str:
    names = (name for name, nested in stage.nested.items() if nested is chosen)
    path = f"{stage.name} {next(names, '')}".strip()
    return f"{branch}, {path}" if branch else path


def masks_of(
    trace: Iterable[StageResult], shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], Rows]:
    """Return the tokens that all masks of a trace allow, and the rows that fell back.

    Args:
        trace: the results of the stages.
        shape: (batch, vocabulary).

    Returns:
        (batch, vocabulary), read-only; and (batch,), True where the stages before a mask left
        nothing that it allows.
    """
    # One byte for any number of tokens.
    everything: NDArray[np.bool_] = np.broadcast_to(np.True_, shape)
    allowed, fell_back = everything, np.zeros(shape[0], dtype=bool)
    for result in trace:
        inside = result.rows
        if result.allowed is not None:  # in rows that it isn't for, a mask allows everything
            mine = result.allowed if inside is None else result.allowed | ~inside[:, None]
            allowed = mine if allowed is everything else allowed & mine
        if result.fell_back is not None:
            fell_back |= result.fell_back if inside is None else result.fell_back & inside
    return allowed, fell_back
