"""Exact replay: the log-probability and kept set of each sampled token, for trainers."""

from corelm_replay.audit import Audit, audit
from corelm_replay.entropy import EntropyLog
from corelm_replay.kept_sets import KeptSets
from corelm_replay.logprobs import chain_logprobs
from corelm_replay.receipts import Receipt, receipts, verify
from corelm_replay.recording import Rollouts, record, record_logits

__all__ = [
    "Audit",
    "EntropyLog",
    "KeptSets",
    "Receipt",
    "Rollouts",
    "audit",
    "chain_logprobs",
    "receipts",
    "record",
    "record_logits",
    "verify",
]
