"""Exact replay: the log-probability and kept set of each sampled token, for trainers."""

from corelm_replay.audit import Audit, audit
from corelm_replay.entropy import EntropyLog
from corelm_replay.kept_sets import KeptSets
from corelm_replay.logprobs import chain_logprobs
from corelm_replay.receipts import Receipt, receipts
from corelm_replay.recording import Rollouts, record, record_logits
from corelm_replay.token_log import TokenLog
from corelm_replay.verification import verify

__all__ = [
    "Audit",
    "EntropyLog",
    "KeptSets",
    "Receipt",
    "Rollouts",
    "TokenLog",
    "audit",
    "chain_logprobs",
    "receipts",
    "record",
    "record_logits",
    "verify",
]
