"""The log-probability of each drawn token under a chain, for trainers."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm.errors import ModelOutputError, UsageError
from corelm.filters import array_namespace, in_library_of
from corelm_replay.fixed_sets import FixedSets, token_logprobs
from corelm_replay.kept_sets import KeptSets
from corelm_replay.layout import BLOCK, Array, Block, Layout, as_numpy

HISTORY = frozenset({"surprisal", "model_surprisal"})
"""The parts of a context that depend on earlier draws, and are computed on the way."""


def chain_logprobs(
    chain: corelm.Sampler | str, logits: Array, tokens: Array, *, prompt_length: Array,
    mask: Array = None, kept: KeptSets | None = None, surprisal: Array = None,
    model_surprisal: Array = None, vocabulary: Any = None, block: int = BLOCK,
) -> Array:  # fmt: skip
    """Return the log-probability of each drawn token under a chain.

    Gradients flow through temperatures, penalties and mixtures; the sets that filters and masks
    keep are constants. A token outside the kept set has minus infinity. The logits are read in
    blocks, forwards and backwards, so next to the gradient there is never another copy of them.

    Args:
        chain: a sampler, a registered name or an expression.
        logits: (batch, time, vocabulary) of torch, JAX or NumPy, raw as the model returns them;
            `logits[:, i]` is the distribution of the i-th of the last `time` tokens. From a
            model's output for all tokens, drop the last position: `logits[:, :-1]`.
        tokens: (batch, length) ids, prompt and drawn tokens.
        prompt_length: columns of `tokens` that are prompt, padding included: a number, or (batch,).
        mask: (batch, length) 0 for padding, anywhere, such as the attention mask.
        kept: `KeptSets` of a rollout, which take the place of the chain's own filters.
        surprisal, model_surprisal: (batch, time) nats that the rollout recorded, for samplers that
            read them, such as mirostat; by default they are computed from these logits.
        vocabulary: for samplers that name words, and grammars.
        block: the largest number of logits in a block; at least one row.

    Returns:
        (batch, time) in the logits' type, float32 for narrower ones; 0 at prompts and padding.

    Raises:
        UsageError: shapes that do not fit; a stage without a gradient on these arrays; a compiled
            function (`jax.jit`) whose chain reads surprisals that are not given.
        ModelOutputError: logits of a drawn token that are no distribution, such as NaN.
        CorelmError: no such sampler, or one that failed.

    Source: the kept sets as constants are the sampling masks of DeepSeek-AI 2025, DeepSeek-V3.2,
    arXiv 2512.02556, section 3.1.

    Example:
        >>> logits = np.log([[[0.5, 0.3, 0.2]]])
        >>> chain_logprobs("top_k(k=2)", logits, [[0, 1]], prompt_length=1).round(4).tolist()
        [[-0.9808]]
    """
    layout = Layout(logits.shape, tokens, prompt_length, mask, vocabulary)
    layout.set_history(surprisal, model_surprisal)
    histories = {"surprisal": surprisal, "model_surprisal": model_surprisal}
    recorded = frozenset(name for name, values in histories.items() if values is not None)
    work = Replay(corelm.sampler(chain), layout, kept, recorded, block)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(logits, torch.Tensor):
        from corelm_replay.torch_gradient import replayed
    elif "jax" in sys.modules and isinstance(logits, sys.modules["jax"].Array):
        from corelm_replay.jax_gradient import replayed
    else:
        return work.values(np.asarray(logits))
    return replayed(logits, work)


class Replay:
    """A chain on the drawn tokens of a batch, block by block.

    Args:
        chain: a sampler.
        layout: the `Layout` of the tokens.
        kept: `KeptSets` of a rollout, or None.
        recorded: the names of the surprisals that the layout already has.
        block: the largest number of logits in a block.
    """

    def __init__(
        self, chain: corelm.Sampler, layout: Layout, kept: KeptSets | None = None,
        recorded: frozenset[str] = frozenset(), block: int = BLOCK,
    ) -> None:  # fmt: skip
        self.chain, self.layout = chain, layout
        self._kept, self._size = kept, block
        self._sets = FixedSets(chain)
        self._missing = (chain.reads & HISTORY) - recorded
        if kept is not None:
            if chain.has_branches:
                raise UsageError(f"the sets of {chain} don't tell its outcomes apart: omit kept=")
            kept.check(layout)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks so that each comes after the blocks it depends on."""
        return self.layout.blocks(self.chain.reads, self._size)

    def rows(self, logits: Array, block: Block) -> Array:
        """Return the logits of a block, (n, vocabulary) in float32 or float64."""
        rows, columns = (in_library_of(logits, each) for each in (block.rows, block.columns))
        result, xp = logits[rows, columns], array_namespace(logits)
        return result if result.dtype in (xp.float32, xp.float64) else xp.astype(result, xp.float32)

    def decide(self, rows: Array, block: Block, differentiated: bool = True) -> Array:
        """Return the chain's logits for a block; store the kept sets for `apply`.

        Raises:
            ModelOutputError: logits that are no distribution.
        """
        xp = array_namespace(rows)
        # Not after the chain: a NaN would come out as a probability of 0 or 1.
        valid = as_numpy(xp.isfinite(xp.max(rows, axis=-1)))
        if not valid.all():
            at = int(valid.argmin())
            raise ModelOutputError(
                f"the logits in row {block.rows[at]}, position {block.columns[at]}, are no "
                "distribution: NaN, +infinity, or all minus infinity"
            )
        recorded = None
        if self._kept is not None:
            recorded = in_library_of(rows, self._kept.allowed(block, self.layout.shape[2]))
        out = self._sets.decide(rows, block.context, recorded, differentiated)
        if self._missing:
            drawn = as_numpy(token_logprobs(out, block.tokens))
            model = as_numpy(token_logprobs(rows, block.tokens))
            self.layout.remember(block, np.where(drawn > -np.inf, -drawn, np.inf), -model)
        return out

    def apply(self, rows: Array, block: Block) -> Array:
        """Return the chain's logits for a block, with the sets of `decide` as constants."""
        return self._sets.apply(rows, block.context)

    def logprobs(self, rows: Array, block: Block, traced: bool = False) -> Array:
        """Return ln p of a block's tokens, (n,), with the sets of `decide` as constants.

        Args:
            rows: (n, vocabulary) logits.
            block: their places.
            traced: the rows are a compiler's tracers, without values, so the chain acts on them.
        """
        if traced and (self._missing or self._kept is not None):
            raise UsageError(
                f"{self.chain} needs the values of these logits, which jax.jit hides: pass the "
                "recorded surprisals, leave out kept, or call chain_logprobs outside of jit"
            )
        out = self.chain(rows, block.context) if traced else self.apply(rows, block)
        return array_namespace(out).astype(token_logprobs(out, block.tokens), out.dtype)

    def values(self, logits: Array) -> NDArray[Any]:
        """Return (batch, time) log-probabilities of logits that need no gradient."""
        result = None
        for block in self.blocks():
            rows = self.rows(logits, block)
            out = self.decide(rows, block, differentiated=False)
            numbers = as_numpy(token_logprobs(out, block.tokens))
            if result is None:
                result = np.zeros(self.layout.shape[:2], as_numpy(rows[:0]).dtype)
            result[block.rows, block.columns] = numbers
        return np.zeros(self.layout.shape[:2], np.float32) if result is None else result
