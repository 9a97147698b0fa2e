"""Continuous batching: texts of several requests in one session of a model."""

from corelm.batching.continuous_batch import BatchedTexts as BatchedTexts
from corelm.batching.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.batching.continuous_batch import Turn as Turn
from corelm.batching.continuous_batch import write_in_order as write_in_order
from corelm.batching.prefix_cache import PrefixCache as PrefixCache

__all__ = [
    "BatchedTexts",
    "ContinuousBatch",
    "PrefixCache",
    "Turn",
    "write_in_order",
]
