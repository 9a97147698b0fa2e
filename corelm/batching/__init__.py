"""Texts of several requests in one session of a model: written, or read as they are."""

from corelm.batching.continuous_batch import BatchedTexts as BatchedTexts
from corelm.batching.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.batching.continuous_batch import Turn as Turn
from corelm.batching.continuous_batch import write_in_order as write_in_order
from corelm.batching.grouped_session import GroupedSession as GroupedSession
from corelm.batching.grouped_session import start_rows as start_rows
from corelm.batching.prefix_cache import PrefixCache as PrefixCache
from corelm.batching.teacher_forcing import ForcedTokens as ForcedTokens
from corelm.batching.teacher_forcing import prompt_and_text as prompt_and_text
from corelm.batching.teacher_forcing import read_logits as read_logits
from corelm.batching.teacher_forcing import teacher_forced as teacher_forced

__all__ = [
    "BatchedTexts",
    "ContinuousBatch",
    "ForcedTokens",
    "GroupedSession",
    "PrefixCache",
    "Turn",
    "prompt_and_text",
    "read_logits",
    "start_rows",
    "teacher_forced",
    "write_in_order",
]
