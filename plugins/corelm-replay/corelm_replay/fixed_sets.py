"""Chains with constant kept sets, so that only temperature and penalties are differentiated.

A stage that only removes tokens at the current values is replaced by the set that it kept. Its
derivative is then exact wherever the set does not change, and the set can come from corelm's
kernels or NumPy, which have no gradients.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm import Chain, Coin, Context, Mask, Sampler, Switch, mask_logits, surprisals
from corelm.errors import UsageError
from corelm.filters import array_namespace, in_library_of, widen
from corelm_replay.layout import Array, Ids, as_numpy


class FixedSet(Sampler):
    """A stage of a chain that first decides on a set, and then keeps it as a constant.

    After a coin it is called once for each outcome, so that it has a set for each call.

    With a recorded set, the first stage that removes tokens keeps the recorded ones, and the other
    stages that only remove tokens do nothing.
    """

    if TYPE_CHECKING:  # `around` sets stage, owner and sets: they are no parameters

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def around(cls, stage: Sampler, owner: FixedSets) -> FixedSet:
        """Return a stage for the chain of an owner, a `FixedSets`."""
        made = cls()
        vars(made).update(stage=stage, owner=owner, sets=deque(), reads=stage.reads)
        return made

    def __call__(self, logits: Array, context: Context) -> Array:
        if self.owner.deciding:
            return self._decide(logits, context)
        self.sets.rotate(-1)
        if (remaining := self.sets[-1]) is not None:
            return mask_logits(logits, remaining)
        result = call(self.stage, logits, context)
        if result is None:
            raise UsageError(
                f"{self.stage} has no gradient on these arrays: it neither runs on their library "
                "nor only removes tokens"
            )
        return result

    def _decide(self, logits: Array, context: Context) -> Array:
        result = call(self.stage, logits, context)
        if result is None:
            result = in_library_of(logits, self.stage(as_numpy(logits), context))
        if not self.owner.differentiated and self.owner.recorded is None:
            return result
        # True if every logit stayed as it was or became minus infinity.
        removes = bool(((result == logits) | (result == -np.inf)).all())
        recorded = self.owner.recorded if removes else None
        if recorded is None:
            self.sets.append((result > -np.inf) if removes else None)
            return result
        acts = not self.owner.applied and bool((result != logits).any())
        self.owner.applied |= acts
        self.sets.append(recorded if acts else logits > -np.inf)
        return mask_logits(logits, self.sets[-1])


def call(stage: Sampler, logits: Array, context: Context) -> Array:
    """Return a stage's result on an array of any library; None if it cannot run there."""
    if isinstance(logits, np.ndarray):
        return stage(logits, context)
    try:
        result = stage(logits, context)
    except UsageError:  # for example an unknown word
        raise
    except Exception:  # for example a NumPy function on another library's array
        return None
    return result if hasattr(result, "shape") and type(result) is not np.ndarray else None


class FixedSets:
    """A chain in two runs: `decide` on the kept sets of a block, then `apply` with them.

    Args:
        chain: the sampler.
    """

    def __init__(self, chain: Sampler) -> None:
        self.deciding, self.applied = False, False
        self.recorded: Array = None
        self.differentiated = True
        stages = [
            stage if isinstance(stage, (Coin, Mask, Switch)) else FixedSet.around(stage, self)
            for stage in chain.active_stages
        ]
        self._fixed = [stage for stage in stages if isinstance(stage, FixedSet)]
        self._chain = Chain(tuple(stages)) if stages else None
        self._sampler = chain

    def decide(
        self, logits: Array, context: Context, recorded: Array = None, differentiated: bool = True
    ) -> Array:
        """Return the chain's logits for a block without gradients; store the sets.

        Args:
            logits: (n, vocabulary) with concrete values, not a compiler's tracers.
            context: n rows.
            recorded: (n, vocabulary) the tokens to keep; None if the chain decides.
            differentiated: True if `apply` follows, so that the sets are stored.
        """
        self.differentiated = differentiated
        self.deciding, self.applied, self.recorded = True, False, recorded
        for stage in self._fixed:
            stage.sets.clear()
        if recorded is None and isinstance(logits, np.ndarray):  # NumPy needs no gradient
            return self._sampler(logits, context)
        return self._run(logits, context)

    def apply(self, logits: Array, context: Context) -> Array:
        """Return the chain's logits with the sets of `decide`; gradients flow through it."""
        self.deciding = False
        return self._run(logits, context)

    def _run(self, logits: Array, context: Context) -> Array:
        result = logits if self._chain is None else self._chain(logits, context)
        if self.recorded is not None and not self.applied:
            result = mask_logits(result, self.recorded)
        return result


def token_logprobs(logits: Array, tokens: Ids) -> Array:
    """Return ln p of one token of each row, in float64 where the library has it: (n,).

    Args:
        logits: (n, vocabulary), of any library.
        tokens: (n,) ids, of NumPy.
    """
    if isinstance(logits, np.ndarray) or (
        not getattr(logits, "requires_grad", True) and logits.device.type == "cpu"
    ):  # in one pass
        return -surprisals(logits, tokens)
    xp = array_namespace(logits)
    largest = xp.max(logits, axis=-1, keepdims=True)
    total = xp.sum(widen(xp.exp(logits - largest)), axis=-1)
    places = in_library_of(logits, tokens[:, None])
    drawn = xp.take_along_axis(logits, places, axis=-1) - largest
    return widen(drawn)[:, 0] - xp.log(total)
