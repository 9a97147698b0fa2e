"""Batches of rows in an order that seed and epoch decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from corelm.training.rows import TokenRows


class ShuffledBatches(keras.utils.PyDataset):
    """Batches of (inputs, targets) in an order that depends only on (seed, epoch).

    Args:
        rows: (rows, context + 1) token ids.
        batch: rows per batch.
        seed: decides the order.
        epoch: the number of the next epoch, from 0.
        skip: batches of that epoch that are done.
        fill: called with each batch of rows; adds rows of padding where devices share a batch.
    """

    def __init__(
        self,
        rows: TokenRows,
        batch: int,
        seed: int,
        epoch: int,
        skip: int = 0,
        fill: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._rows, self._batch, self._seed = rows, batch, seed
        self._epoch, self._skip, self._fill = epoch, skip, fill
        self._order = self._shuffle()

    def _shuffle(self) -> Any:
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._rows))

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch) - self._skip

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        start = (index + self._skip) * self._batch
        batch = self._rows[self._order[start : start + self._batch]].astype(np.int32)
        if self._fill is not None:
            batch = self._fill(batch)
        return batch[:, :-1], batch[:, 1:]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffle()
