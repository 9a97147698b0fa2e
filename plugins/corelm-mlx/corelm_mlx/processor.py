"""A corelm sampler as a logits processor, and as a sampler, of mlx-lm."""

import logging
import sys

import mlx.core as mx
import numpy as np

from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm_mlx.model import to_numpy, vocabulary_from
from corelm_mlx.texts import Texts

logger = logging.getLogger("corelm.mlx")


def as_logits_processor(sampler, *, seed=None, sample=0, tokenizer=None, ends=None):
    """Return a sampler as a function for `generate(logits_processors=[...])`.

    Without a seed it returns the sampler's logits, and mlx-lm draws from them: pass
    `sampler=make_sampler(temp=1.0)`, since mlx-lm is greedy by default; a warning in the log says
    what a coin in the chain needs. With a seed it draws, and
    returns 0 for the token drawn and minus infinity for all others, so that mlx-lm's own sampler
    changes nothing. That text is the one of `corelm.generate` with the same seed.

    mlx-lm's `draft_model` is refused where the sampler draws or reads the text. One object serves
    one text after another. With a seed, the texts of a batch need one each, with
    different samples; without, they may share one.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to mlx-lm.
        sample: the index of the text in a run with the seed, as in `corelm.generate`.
        tokenizer: the model's, for samplers that name words or the end of a text, and to tell its
            start token from the text.
        ends: the ids at which mlx-lm ends a text, such as `stop_tokens` of a `BatchGenerator`;
            None for `tokenizer.eos_token_ids`.

    Raises:
        CorelmError: no such sampler, or a seed that is not a whole number of at least 0.

    Example:
        >>> processor = as_logits_processor("top_k(k=1)")
        >>> processor(mx.array([0]), mx.array([[1.0, 3.0, 2.0]])).tolist()
        [[-inf, 3.0, -inf]]
    """
    vocabulary = None if tokenizer is None else vocabulary_from(tokenizer, ends)
    engine = EngineSampler(sampler, seed=seed, vocabulary=vocabulary)
    engine.warn_of_coin(logger, "mlx-lm")
    texts = Texts(engine, alone=seed is not None)
    in_order = seed is not None or engine.reads

    def logits_processor(tokens, logits):
        if in_order:
            _refuse_drafts(engine.sampler)
        on_device = seed is None and mx.default_device() != mx.Device(mx.cpu)
        native = engine.native(logits) if on_device else None
        if native is not None:
            return native
        ids = to_numpy(tokens)
        return mx.array(texts.sampler_of(ids)(to_numpy(logits), [ids], [sample]))

    return logits_processor


def as_sampler(sampler, *, seed=None, tokenizer=None, ends=None):
    """Return a sampler as a function for `generate(sampler=...)`, which draws the tokens.

    mlx-lm passes log-probabilities alone, so the sampler may not read the tokens of the text. The
    text is the one of `corelm.generate` with the same seed. The object counts the tokens that it
    draws, so make one for each text.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; by default a new one.
        tokenizer, ends: as for `as_logits_processor`.

    Raises:
        CorelmError: no such sampler, or a seed that is not a whole number of at least 0.
        UsageError: a sampler that reads tokens; `as_logits_processor` takes it. The function
            raises it for a `draft_model` of mlx-lm.

    Example:
        >>> as_sampler("top_k(k=1)")(mx.array([[-3.0, -0.1, -5.0]])).tolist()
        [1]
    """
    vocabulary = None if tokenizer is None else vocabulary_from(tokenizer, ends)
    engine = EngineSampler(sampler, seed=seed, vocabulary=vocabulary)
    if "tokens" in engine.reads:
        raise UsageError(
            f"{engine.sampler} reads the tokens of the text, which mlx-lm passes to logits "
            "processors only: use as_logits_processor"
        )
    drawn = []  # (batch,) arrays, one a step

    def draw(logprobs):
        _refuse_drafts(engine.sampler)
        batch = len(logprobs)
        if drawn and len(drawn[0]) != batch:
            raise UsageError(f"this sampler has begun {len(drawn[0])} texts, not {batch}")
        texts = np.stack(drawn, axis=1) if drawn else np.empty((batch, 0), dtype=np.int64)
        tokens = engine.draw(to_numpy(logprobs), list(texts), range(batch), [0] * batch)
        drawn.append(tokens)
        return mx.array(tokens)

    return draw


def _refuse_drafts(sampler):
    """Raise if mlx-lm calls the caller for a text with guesses of a draft model.

    mlx-lm then passes a text without its prompt, and calls processors and samplers for guesses as
    if they were drawn.

    Args:
        sampler: the sampler, for the message.

    Raises:
        UsageError: `generate` or `stream_generate` has a `draft_model`.
    """
    # No argument shows a draft model, so look for it in mlx-lm's frame on the stack.
    if sys._getframe(2).f_code.co_qualname.startswith("speculative_generate_step."):
        raise UsageError(
            f"{sampler} needs the text and draws it in order, but mlx-lm's draft model guesses "
            "ahead; generate without draft_model"
        )
