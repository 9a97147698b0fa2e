"""The places of the drawn tokens of a padded batch, and the context of each."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corelm import Context
from corelm.errors import UsageError

Array: TypeAlias = Any
"""An array of NumPy, torch or JAX."""
Ids: TypeAlias = NDArray[np.int64]

BLOCK = 2**21
"""The number of logits in a block: 8 MiB in float32, little compared with a trainer's logits."""


@dataclass(frozen=True, eq=False)
class Block:
    """Positions whose distributions are computed together.

    Attributes:
        rows, columns: (n,) their places in the logits.
        tokens: (n,) the tokens drawn there.
        places: (n,) their index among the drawn tokens of their row.
        context: the context of the positions, n rows.
    """

    rows: Ids
    columns: Ids
    tokens: Ids
    places: Ids
    context: Context


class Layout:
    """The drawn tokens of a batch, whose prompts and texts may be padded on either side.

    Args:
        shape: of the logits, (batch, time, vocabulary).
        tokens: (batch, length) ids; `logits[:, i]` is the distribution of the token at
            length - time + i.
        prompt_length: the columns of `tokens` that are prompt, one number or (batch,).
        mask: (batch, length), False for padding; None if there is none.
        vocabulary: for samplers that name words.

    Raises:
        UsageError: shapes that do not fit, or an id outside the vocabulary.
    """

    def __init__(
        self, shape: Sequence[int], tokens: Array, prompt_length: Array, mask: Array = None,
        vocabulary: Any = None,
    ) -> None:  # fmt: skip
        self.tokens = as_numpy(tokens)
        self.mask = np.ones(self.tokens.shape, bool) if mask is None else as_numpy(mask) != 0
        self._check(shape)
        self.shape, self._vocabulary = shape, vocabulary
        length = self.tokens.shape[1]
        prompt = np.broadcast_to(as_numpy(prompt_length), shape[:1]).astype(np.int64)
        self.first = length - shape[1]
        if self.first == 0 and prompt.any():
            raise UsageError(
                f"the logits have {shape[1]} positions for {length} tokens; drop the last one, "
                "logits[:, :-1]: it predicts the token after the text"
            )
        if (prompt < 0).any() or (prompt > length).any():
            raise UsageError(f"prompt_length must be 0 to {length}, not {prompt.tolist()}")
        self._drawn = self.mask & (np.arange(length) >= prompt[:, None])
        self.valid = self._drawn[:, self.first :]
        self._places = self._drawn.cumsum(axis=1)[:, self.first :] - 1
        ids = self.tokens[:, self.first :][self.valid]
        if ids.size and not 0 <= ids.min() <= ids.max() < shape[2]:
            raise UsageError(f"a drawn token is outside the vocabulary of {shape[2]} logits")
        self._pack()

    def _check(self, shape: Sequence[int]) -> None:
        if len(shape) != 3 or self.tokens.ndim != 2:
            raise UsageError("logits must be (batch, time, vocabulary) and tokens (batch, length)")
        if self.tokens.shape[0] != shape[0] or self.tokens.shape[1] < shape[1]:
            raise UsageError(
                f"logits of the shape {tuple(shape)} do not fit tokens of {self.tokens.shape}"
            )
        if self.mask.shape != self.tokens.shape:
            raise UsageError(f"mask must be {self.tokens.shape}, not {self.mask.shape}")

    def _pack(self) -> None:
        """Move the tokens of each row to the left, so that no padding is between them."""
        order = np.argsort(~self.mask, axis=1, kind="stable")
        self.packed = np.take_along_axis(self.tokens, order, axis=1).astype(np.int64)
        self._columns = order - self.first
        self.lengths = self.mask.sum(axis=1)
        self.prompts = self.lengths - self._drawn.sum(axis=1)
        self.surprisal = np.full(self.packed.shape, np.nan)
        self.model_surprisal = np.full(self.packed.shape, np.nan)

    def blocks(self, reads: Set[str], size: int = BLOCK) -> Iterator[Block]:
        """Yield the blocks of all drawn tokens; each row in the order of its text.

        Args:
            reads: the parts of the context that the sampler reads.
            size: the number of logits in a block, at least one row.
        """
        limit = max(size // self.shape[2], 1)
        rows, columns = np.nonzero(self.valid)
        if reads <= {"vocabulary"}:  # no context is read, so positions of all rows go together
            for first in range(0, len(rows), limit):
                part = slice(first, first + limit)
                past = np.empty((len(rows[part]), 0), np.int64)
                yield self._block(rows[part], columns[part], self._context(past))
            return
        for prompt in np.unique(self.prompts):  # rows of one prompt length share a step
            group = np.flatnonzero(self.prompts == prompt)
            for length in range(prompt, self.lengths[group].max(initial=0)):
                alive = group[self.lengths[group] > length]
                alive = alive[self._columns[alive, length] >= 0]
                for first in range(0, len(alive), limit):
                    yield self._step(alive[first : first + limit], length, int(prompt))

    def _step(self, rows: Ids, length: int, prompt: int) -> Block:
        context = self._context(
            self.packed[rows, :length],
            surprisal=self.surprisal[rows, :length],
            model_surprisal=self.model_surprisal[rows, :length],
            prompt_length=prompt,
        )
        return self._block(rows, self._columns[rows, length], context)

    def _context(self, past: Ids, **fields: Any) -> Context:
        return Context.of(
            past, vocabulary=self._vocabulary, vocabulary_size=self.shape[2], **fields
        )

    def _block(self, rows: Ids, columns: Ids, context: Context) -> Block:
        tokens, places = self.tokens[rows, columns + self.first], self._places[rows, columns]
        return Block(rows, columns, tokens, places, context)

    def remember(self, block: Block, surprisal: Array, model_surprisal: Array) -> None:
        """Store the surprisals of a block's tokens for later contexts: (n,) nats each."""
        at = block.rows, block.context.tokens.shape[1]
        self.surprisal[at], self.model_surprisal[at] = surprisal, model_surprisal

    def set_history(self, surprisal: Array, model_surprisal: Array) -> None:
        """Use recorded surprisals in the contexts: (batch, time) nats each, or None."""
        places = np.arange(self.packed.shape[1])
        drawn = (places >= self.prompts[:, None]) & (places < self.lengths[:, None])
        for name, values in (("surprisal", surprisal), ("model_surprisal", model_surprisal)):
            if values is not None:
                rows, at = np.nonzero(drawn & (self._columns >= 0))
                mine = as_numpy(values).astype(np.float64)[rows, self._columns[rows, at]]
                getattr(self, name)[rows, at] = mine


def as_numpy(array: Array) -> NDArray[Any]:
    """Convert numbers, or an array of any library and device, to a NumPy array."""
    if hasattr(array, "detach"):  # torch
        array = array.detach().cpu()
        array = (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()
    return np.asarray(array)
