"""The class that SGLang's server imports for requests of corelm.

Source: SGLang 0.5.23, srt/sampling/custom_logit_processor.py and srt/layers/sampler.py. SGLang
    creates a processor for each batch, so this module keeps the texts in progress, by request.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor

import corelm
from corelm.errors import CorelmError, UsageError
from corelm.interop import EngineSampler, vocabulary_of
from corelm_sglang import SAMPLER, SEED, checked_seed

logger = logging.getLogger("sglang.corelm")
REQUEST = "__req__"
"""SGLang's key for the request of a row."""
MOST = 4096
"""The most requests whose texts are kept; more than a server runs at a time."""
_failed: set[str] = set()


class SamplerProcessor(CustomLogitProcessor):
    """A processor that applies the sampler in `custom_params={"sampler": EXPRESSION}` to each row.

    A sampler that fails is logged, and its request continues without it: an exception would end
    the server, with all requests of all users.
    """

    def __call__(
        self, logits: torch.Tensor, custom_param_list: list[dict[str, Any]] | None = None
    ) -> torch.Tensor:
        """Return the logits to draw from, (rows, vocabulary); the given ones are overwritten."""
        params = custom_param_list or [{}] * len(logits)
        rows = Counter(_name(each) for each in params if each)
        for row, each in enumerate(params):
            if not each or SAMPLER not in each or _name(each) in _failed:
                continue
            try:
                logits[row] = _applied(logits[row : row + 1], each, rows[_name(each)])[0]
            except CorelmError as error:
                logger.error("corelm leaves request %s to SGLang: %s", _name(each), error)
                _remember_failure(_name(each))
        return logits


def _name(params: dict[str, Any]) -> str:
    return str(params[REQUEST].rid)


def _remember_failure(name: str) -> None:
    if len(_failed) >= MOST:
        _failed.clear()
    _failed.add(name)


def _applied(logits: torch.Tensor, params: dict[str, Any], rows: int) -> torch.Tensor:
    """Apply a request's sampler to its rows; with a seed, draw, and leave that token alone.

    Raises:
        CorelmError: an invalid expression or seed, an unknown word, or drafts with a sampler that
            reads the text.
    """
    request, seed = params[REQUEST], params.get(SEED)
    engine = _engine(params[SAMPLER], str(request.rid), request)
    if rows > 1 and (engine.reads or seed is not None):
        # With drafts a request has several rows, whose tokens SGLang does not pass.
        raise UsageError(f"{engine.sampler} reads the text; switch speculative decoding off")
    if seed is None and logits.device.type != "cpu" and engine.is_native(logits):
        return engine.native(logits).to(logits.dtype)
    text = [*request.origin_input_ids, *request.output_ids]
    lengths = [len(request.origin_input_ids)]
    result = engine(logits.float().cpu().numpy(), [text], prompt_lengths=lengths)
    if seed is not None:
        uniform = corelm.RandomStream(checked_seed(seed), [0]).at(len(request.output_ids))
        token = int(corelm.draw(result, uniform)[0][0])
        result = np.full_like(result, -np.inf)
        result[0, token] = 0
    writable = np.require(result, requirements="W")  # torch warns of arrays that aren't writeable
    return torch.from_numpy(writable).to(logits.device, logits.dtype)


@lru_cache(maxsize=MOST)
def _keyed(expression: str, name: str) -> list[EngineSampler]:
    return []


def _engine(expression: Any, name: str, request: Any) -> EngineSampler:
    """Return the engine of a request, which keeps the text that its sampler reads."""
    if not isinstance(expression, str):
        raise UsageError(f"sampler must be an expression, not {expression!r}")
    kept = _keyed(expression, name)
    if not kept:
        kept.append(EngineSampler(expression, vocabulary=_vocabulary(request)))
    return kept[0]


def _vocabulary(request: Any) -> corelm.Vocabulary | None:
    """Return the vocabulary of a request, with its own end tokens and the ids that it names."""
    tokenizer, params = request.tokenizer, request.sampling_params
    if tokenizer is None:
        return None
    ends: set[int] = set()
    if not params.ignore_eos:
        ends.update(request.eos_token_ids or (), params.stop_token_ids or ())
        ends.update(getattr(tokenizer, "additional_stop_token_ids", None) or ())
        ends.update({tokenizer.eos_token_id} - {None})
    wanted = map(int, params.logit_bias or ())
    return vocabulary_of(tokenizer, ends=sorted(ends), wanted=wanted)
