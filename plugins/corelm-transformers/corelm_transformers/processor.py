"""A corelm sampler as a logits processor of transformers."""

import logging
import sys

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from corelm import CorelmError
from corelm.interop import EngineSampler, vocabulary_of
from corelm_transformers.assisted import assisted_prompt_width

logger = logging.getLogger("corelm.transformers")

NEUTRAL = ("InfNanRemoveLogitsProcessor", "LogitNormalization")
"""Processors that may follow a sampler: they leave its distribution as it is."""


def as_logits_processor(sampler, *, seed=None, tokenizer=None):
    """Return a sampler as a logits processor for `model.generate(logits_processor=[...])`.

    Without a seed it returns the sampler's logits, and transformers draws from them: pass
    `do_sample=True, temperature=1.0, top_k=0, top_p=1.0`, or the engine's own filters follow. With
    a seed it draws, and returns 0 for the token drawn and minus infinity for all others. Nothing
    that transformers does later changes that text, which is the one of `corelm.generate`.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to transformers.
        tokenizer: the model's. Its padding and its start token at the beginning of a row are not
            part of the text that a sampler reads, and samplers may name its words.

    Raises:
        CorelmError: no such sampler, or a seed that is not a whole number of at least 0.

    Example:
        >>> processor = as_logits_processor("top_k(k=1)")
        >>> processor(torch.tensor([[0]]), torch.tensor([[1.0, 3.0, 2.0]])).tolist()
        [[-inf, 3.0, -inf]]
    """
    padding = None if tokenizer is None else tokenizer.pad_token_id
    vocabulary = None if tokenizer is None else vocabulary_of(tokenizer)
    return SamplerProcessor(sampler, seed, vocabulary, padding)


class SamplerProcessor(LogitsProcessor):
    """A corelm sampler as a logits processor.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to transformers.
        vocabulary: for samplers that name words, and for the start token; None if it isn't known.
        padding: the id on the left of short rows; None if it isn't known.
        lengths: (batch,) the number of padding tokens in each row, if they are known.
    """

    def __init__(self, sampler, seed=None, vocabulary=None, padding=None, lengths=None):
        self._engine = EngineSampler(sampler, seed=seed, vocabulary=vocabulary)
        self._draws = seed is not None
        self._padding, self._lengths = padding, lengths
        self._remarks = set()
        # Its batches change from step to step, and come without the text before the last token.
        self.supports_continuous_batching = not self._reads_texts

    def __repr__(self):
        return f"corelm: {self._engine.sampler}"

    def __call__(self, input_ids, scores):
        """Return the logits to draw from, (batch, vocabulary), on the device of the scores."""
        if not self._draws:
            self._check_followers(sys._getframe(1))
        scores = scores.detach()
        if scores.device.type != "cpu":
            native = None if self._draws else self._engine.native(scores)
            if native is not None:
                return native
            self._remark("info", "%s runs on the CPU: one copy of the logits a step", self)
        texts = self._texts(input_ids) if self._reads_texts else [()] * len(scores)
        lengths = self._assisted_lengths(input_ids, texts) if self._reads_texts else None
        # On a CPU no array is copied here, in either direction, but where nothing changed: then
        # the result is a read-only view of the scores, which PyTorch does not take.
        logits = scores.to("cpu", torch.float32).numpy()
        result = self._engine(logits, texts, prompt_lengths=lengths)
        return torch.from_numpy(np.require(result, requirements="W")).to(scores.device)

    @property
    def _reads_texts(self):
        return self._draws or bool(self._engine.reads)

    def _texts(self, input_ids):
        """Return the ids of each row without the padding before them."""
        rows = input_ids.cpu().numpy()
        if self._lengths is not None:
            starts = self._lengths
        elif self._padding is not None:
            text = rows != self._padding
            starts = np.where(text.any(axis=1), text.argmax(axis=1), rows.shape[1])
        else:
            starts = np.zeros(len(rows), dtype=np.int64)
            if len(rows) > 1 and "tokens" in self._engine.reads:
                self._remark(
                    "warning",
                    "%s reads the tokens of each row from its first one; if your batch is padded, "
                    "pass the tokenizer to as_logits_processor()",
                    self,
                )
        return [row[start:] for row, start in zip(rows, starts, strict=True)]

    def _assisted_lengths(self, input_ids, texts):
        """Return the length of each row's prompt in assisted decoding; None in other loops.

        Assisted decoding takes tokens back, so its rows don't continue those of the last call.

        Raises:
            CorelmError: the sampler reads surprisals, which are gone with the last call.
        """
        width = assisted_prompt_width()
        if width is None:
            return None
        if self._engine.reads & {"surprisal", "model_surprisal"}:
            raise CorelmError(
                f"{self._engine.sampler} reads the surprisals of earlier tokens, and assisted "
                "decoding takes tokens back; generate without an assistant or prompt lookup"
            )
        return [width - (input_ids.shape[1] - len(text)) for text in texts]

    def _check_followers(self, caller):
        """Warn if processors that change the distribution follow in the list of the caller.

        A processor isn't passed the list that it is in; but the list calls it, so it is in the
        frame of the caller.
        """
        if "followers" in self._remarks:
            return
        self._remarks.add("followers")
        processors = caller.f_locals.get("self")
        if isinstance(processors, LogitsProcessorList) and self in processors:
            behind = processors[processors.index(self) + 1 :]
            names = [type(other).__name__ for other in behind]
            if active := [name for name in names if name not in NEUTRAL]:
                logger.warning(
                    "transformers applies %s after %s; pass temperature=1.0, top_k=0, top_p=1.0 "
                    "to generate(), or a seed to as_logits_processor()",
                    ", ".join(active),
                    self,
                )

    def _remark(self, level, message, *values):
        """Log a message once."""
        if message not in self._remarks:
            self._remarks.add(message)
            getattr(logger, level)(message, *values)
