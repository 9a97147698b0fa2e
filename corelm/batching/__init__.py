"""Continuous batching: texts of several requests in one session of a model."""

from corelm.batching.continuous_batch import BatchedTexts as BatchedTexts
from corelm.batching.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.batching.continuous_batch import write_in_order as write_in_order
from corelm.batching.shared_session import SessionView as SessionView
from corelm.batching.shared_session import SharedSession as SharedSession
from corelm.batching.shared_session import ViewedModel as ViewedModel

__all__ = [
    "BatchedTexts",
    "ContinuousBatch",
    "SessionView",
    "SharedSession",
    "ViewedModel",
    "write_in_order",
]
