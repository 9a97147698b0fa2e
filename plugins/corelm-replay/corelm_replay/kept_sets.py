"""The tokens that could be drawn at each position, and the formats in which engines send them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corelm.errors import UsageError

if TYPE_CHECKING:
    from corelm_replay.layout import Block, Layout


@dataclass(frozen=True, eq=False)
class KeptSets:
    """The sets of tokens that were in play at the drawn tokens of a batch.

    Attributes:
        token_ids: (ids,) the ids of all sets, one after the other.
        offsets: (batch, time + 1) the index in `token_ids` at which the set of each position
            starts; it ends where the next one starts. An empty set means that nothing was recorded.

    Source: CSR arrays as in vLLM's SamplingMask, pull request 49577.

    Example:
        >>> kept = KeptSets.of([[[1, 2], [3]]])
        >>> kept.ids(0, 0).tolist(), kept.lists()
        ([1, 2], [[[1, 2], [3]]])
    """

    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sets: Sequence[Sequence[Any]]) -> KeptSets:
        """Return the sets of texts: for each text, a list of ids at each of its positions.

        Texts may differ in length; positions after the last one of a text have no set.
        """
        time = max(map(len, sets), default=0)
        sizes = np.zeros((len(sets), time), np.int64)
        for row, text in enumerate(sets):
            sizes[row, : len(text)] = [len(ids) for ids in text]
        flat = [i for text in sets for ids in text for i in ids]
        totals = sizes.sum(axis=1)
        first = (totals.cumsum() - totals)[:, None]
        offsets = np.concatenate([first, first + sizes.cumsum(axis=1)], axis=1)
        return cls(np.array(flat, np.int32), offsets)

    @classmethod
    def from_vllm(cls, outputs: Iterable[Any]) -> KeptSets:
        """Return the sets of vLLM's completions.

        Args:
            outputs: for each text its `CompletionOutput`, a choice of `/inference/v1/generate`, or
                the `sampling_mask` of either: lists of ids, or CSR `token_ids` and `offsets`.

        Source: vLLM, docs/features/sampling_mask.md, and pull request 49577.
        """
        return cls.of([_vllm_sets(output) for output in outputs])

    @classmethod
    def from_sglang(cls, outputs: Iterable[Any]) -> KeptSets:
        """Return the sets of SGLang's outputs, or of their `meta_info`.

        Source: SGLang pull requests 27408 and 33593: `output_token_sampling_mask`.
        """
        texts = []
        for output in outputs:
            meta = output.get("meta_info", output)
            if "output_token_sampling_mask" not in meta:
                raise UsageError("no output_token_sampling_mask; request return_sampling_mask=True")
            texts.append(meta["output_token_sampling_mask"] or [])
        return cls.of(texts)

    def to_vllm(self) -> list[dict[str, list[list[int]]]]:
        """Return each text's `sampling_mask` in the form of vLLM's HTTP answers: lists of ids."""
        return [{"sampling_mask": text} for text in self.lists()]

    def lists(self) -> list[list[list[int]]]:
        """Return the sets as lists, without the positions after the last set of a text."""
        texts = []
        for row in range(len(self.offsets)):
            text = [self.ids(row, at).tolist() for at in range(self.time)]
            while text and not text[-1]:
                text.pop()
            texts.append(text)
        return texts

    @property
    def time(self) -> int:
        """The number of positions."""
        return int(self.offsets.shape[1]) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(batch, time) the number of tokens in each set."""
        return np.diff(self.offsets, axis=1)

    def ids(self, row: int, at: int) -> NDArray[np.int32]:
        """Return the ids of one set."""
        return self.token_ids[self.offsets[row, at] : self.offsets[row, at + 1]]

    def check(self, layout: Layout) -> None:
        """Raise if the sets do not fit the drawn tokens of a batch.

        Raises:
            UsageError: another number of texts or too few positions, an id outside the
                vocabulary, or a drawn token that is not in its set.
        """
        batch, _time, size = layout.shape
        if len(self.offsets) != batch:
            raise UsageError(f"kept has the sets of {len(self.offsets)} texts, not of {batch}")
        if self.token_ids.size and not 0 <= self.token_ids.min() <= self.token_ids.max() < size:
            raise UsageError(f"kept holds an id outside the vocabulary of {size} logits")
        for row in range(batch):
            places = np.flatnonzero(layout.valid[row])
            if len(places) > self.time:
                raise UsageError(f"kept has {self.time} positions, row {row} has {len(places)}")
            drawn = layout.tokens[row, layout.first + places]
            for at, token in enumerate(drawn.tolist()):
                ids = self.ids(row, at)
                if ids.size and not (ids == token).any():
                    raise UsageError(f"token {token} of row {row}, position {at} isn't in its set")

    def allowed(self, block: Block, size: int) -> NDArray[np.bool_]:
        """Return the sets of a block's positions as a mask: (n, vocabulary)."""
        places = block.places
        first = self.offsets[block.rows, places]
        counts = self.offsets[block.rows, places + 1] - first
        allowed = np.zeros((len(places), size), bool)
        allowed[counts == 0] = True
        row = np.arange(len(places)).repeat(counts)
        inside = np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)
        allowed[row, self.token_ids[first.repeat(counts) + inside]] = True
        return allowed


def _vllm_sets(output: Any) -> Any:
    mask = output.get("sampling_mask", output) if isinstance(output, dict) else output
    mask = getattr(mask, "sampling_mask", mask)
    if mask is None:
        raise UsageError("no sampling_mask; start vLLM with --return-sampling-mask")
    ids, offsets = _field(mask, "token_ids"), _field(mask, "offsets")
    if offsets is None:
        return mask if ids is None else ids
    return [list(ids[a:b]) for a, b in itertools.pairwise(offsets)]


def _field(mask: Any, name: str) -> Any:
    return mask.get(name) if isinstance(mask, dict) else getattr(mask, name, None)
