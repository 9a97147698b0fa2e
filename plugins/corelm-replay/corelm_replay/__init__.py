"""Exact replay: what a trainer needs to know about a sampled token."""

from corelm_replay.kept_sets import KeptSets
from corelm_replay.logprobs import chain_logprobs

__all__ = ["KeptSets", "chain_logprobs"]
