"""A corelm sampler as a logits processor of transformers, and in a loop of its own."""

import logging
import math
import weakref

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList, StopStringCriteria
from transformers.generation import GenerationMode

from corelm import CorelmError
from corelm.errors import UsageError
from corelm.interop import EngineSampler, vocabulary_of
from corelm_transformers.caller import LOOKUP, EndTokens, Generation, calling_list, options_of_call

logger = logging.getLogger("corelm.transformers")

NEUTRAL = ("InfNanRemoveLogitsProcessor", "LogitNormalization")
"""Processors that don't change a distribution."""


def as_logits_processor(sampler, *, seed=None, tokenizer=None, record=None):
    """Return a sampler as a logits processor for `model.generate(logits_processor=[...])`.

    Without a seed it returns the sampler's logits, and transformers draws from them: pass
    `do_sample=True, temperature=1.0, top_k=0, top_p=1.0`, or the engine's own filters follow. With
    a seed it draws, and returns 0 for the token drawn and minus infinity for all others. Nothing
    that transformers does later changes that text, which is the one of `corelm.generate` unless
    the settings of the model switch on processors that come first; a warning in the log names them.

    Each `generate` is a new generation, and its configuration has the ids that end a text.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to transformers.
        tokenizer: the model's. Its padding and its start token at the beginning of a row are not
            part of the text that a sampler reads, and samplers may name its words.
        record: is called with the `corelm.interop.EngineDraw` of each step, such as the `TokenLog`
            of corelm-replay; it needs a seed.

    Raises:
        CorelmError: no such sampler, a seed that is not a whole number of at least 0, or `record`
            without a seed.

    Example:
        >>> processor = as_logits_processor("top_k(k=1)")
        >>> processor(torch.tensor([[0]]), torch.tensor([[1.0, 3.0, 2.0]])).tolist()
        [[-inf, 3.0, -inf]]
    """
    padding = None if tokenizer is None else tokenizer.pad_token_id
    return SamplerProcessor(sampler, seed, tokenizer, padding, record=record)


class SamplerProcessor(LogitsProcessor):
    """A corelm sampler as a logits processor.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to transformers.
        tokenizer: for samplers that name words, and for the start token; None if it isn't known.
        padding: the id on the left of short rows; None if it isn't known.
        lengths: (batch,) the number of padding tokens in each row, if they are known.
        record: is called with each draw; None for none.
    """

    def __init__(self, sampler, seed=None, tokenizer=None, padding=None, lengths=None, record=None):
        self._seed, self._tokenizer, self._record = seed, tokenizer, record
        self._draws = seed is not None
        self._padding, self._lengths = padding, lengths
        # Weak references to the processor list of the last call, and to the object that identifies
        # its generation.
        self._caller = self._identity = lambda: None
        self._generation = Generation()
        self._prompt_width = None  # of this generation's prompt, if known
        self._vocabulary = None
        self._remarks = set()
        self._begin(sampler, size=math.inf)
        # Its batches change from step to step, and contain only the last token of each text.
        self.supports_continuous_batching = not self._reads_texts

    def __repr__(self):
        return f"corelm: {self._engine.sampler}"

    def __call__(self, input_ids, scores):
        """Return the logits to draw from, (batch, vocabulary), on the device of the scores."""
        processors, caller = calling_list()
        # Prompt lookup calls with artificial logits to see which tokens are possible. A draw leaves
        # a random one, which does no harm: the model checks every guess.
        if caller is LOOKUP:
            return scores
        self._notice_generation(processors, input_ids, scores.shape[-1])
        if self._generation.translated:
            return scores
        scores = scores.detach()
        if scores.device.type != "cpu":
            native = None if self._draws else self._engine.native(scores)
            if native is not None:
                return native
            self._remark("info", "%s runs on the CPU: one copy of the logits a step", self)
        texts = self._texts(input_ids) if self._reads_texts else [()] * len(scores)
        lengths = self._assisted_lengths(input_ids, texts) if self._reads_texts else None
        # On a CPU nothing is copied here, in either direction. PyTorch takes no read-only array.
        logits = scores.to("cpu", torch.float32).numpy()
        result = self._engine(logits, texts, prompt_lengths=lengths)
        return torch.from_numpy(np.require(result, requirements="W")).to(scores.device)

    @property
    def _reads_texts(self):
        return self._draws or bool(self._engine.reads)

    def _notice_generation(self, processors, input_ids, size):
        """Start again if another generation calls: each `generate` makes a new processor list.

        In assisted decoding the assistant also makes lists, for guesses of the same text, so there
        the configuration identifies the generation.
        """
        if processors is not None and processors is self._caller():
            return
        self._caller = (lambda: None) if processors is None else weakref.ref(processors)
        self._generation = generation = Generation.calling()
        identity = generation.config if generation.assisted or processors is None else processors
        if identity is not None and identity is not self._identity():
            self._identity = weakref.ref(identity)
            self._prompt_width = generation.prompt_width or input_ids.shape[-1]
            if self._draws and (getattr(generation.config, "num_beams", None) or 1) > 1:
                raise CorelmError(
                    "beam search compares probabilities, and with a seed corelm leaves one token "
                    "to each beam; leave out num_beams, or the seed"
                )
            self._begin(self._engine.sampler, size)
        # An assistant's list has settings of its own.
        if processors is not None and not generation.guesses:
            self._check_neighbours(processors)

    def _begin(self, sampler, size):
        """Drop all texts, and read the end tokens from the generation."""
        ends = tuple(self._generation.end_tokens(self._tokenizer, size))
        if self._tokenizer is None:
            start = getattr(self._generation.config, "bos_token_id", None)
            self._vocabulary = EndTokens(ends, start)
        elif self._vocabulary is None or self._vocabulary.ends != ends:
            self._vocabulary = vocabulary_of(self._tokenizer, ends=ends)
        self._engine = EngineSampler(
            sampler, seed=self._seed, vocabulary=self._vocabulary, record=self._record
        )

    def _texts(self, input_ids):
        """Strip the left padding from each row of ids."""
        rows = input_ids.cpu().numpy()
        if self._lengths is not None:
            starts = self._lengths
        elif self._padding is not None:
            pads = rows[:, : self._prompt_width] == self._padding  # only a prompt is padded
            starts = pads.cumprod(axis=1).sum(axis=1)
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

        Assisted decoding takes tokens back, so its rows don't continue the last call's.

        Raises:
            CorelmError: the sampler reads surprisals, which aren't kept from the last call.
        """
        if not self._generation.assisted:
            return None
        if self._engine.reads & {"surprisal", "model_surprisal"}:
            raise CorelmError(
                f"{self._engine.sampler} reads the surprisals of earlier tokens, and assisted "
                "decoding takes tokens back; generate without an assistant or prompt lookup"
            )
        padding = (input_ids.shape[1] - len(text) for text in texts)
        return [self._prompt_width - width for width in padding]

    def _check_neighbours(self, processors):
        """Warn if processors in the same list change this one's input or output.

        Of the processors before it, only transformers' own are named: a configuration adds those,
        while any other was added on purpose.
        """
        if self not in processors:
            return
        place = processors.index(self)
        of_engine = (p for p in processors[:place] if type(p).__module__[:13] == "transformers.")
        if before := _active(of_engine):
            self._remark(
                "warning",
                "transformers applies %s before %s, so the text is not corelm's; switch their "
                "settings off in generate(), or use corelm_loop, which takes their place",
                before,
                self,
            )
        if not self._draws and (behind := _active(processors[place + 1 :])):
            self._remark(
                "warning",
                "transformers applies %s after %s; pass temperature=1.0, top_k=0, top_p=1.0 "
                "to generate(), or a seed to as_logits_processor()",
                behind,
                self,
            )

    def _remark(self, level, message, *values):
        """Log a message once."""
        text = message % values
        if text not in self._remarks:
            self._remarks.add(text)
            getattr(logger, level)(text)


def _active(processors):
    """Return the names of the processors that change a distribution, joined."""
    names = [type(processor).__name__ for processor in processors]
    return ", ".join(name for name in names if name not in NEUTRAL)


MODES = (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH)
"""The generation modes that take one token after the other, which `corelm_loop` replaces."""


def corelm_loop(
    model,
    input_ids,
    logits_processor,
    stopping_criteria,
    generation_config,
    sampler="stochastic",
    seed=None,
    tokenizer=None,
    stop_strings=None,
    num_return_sequences=None,
    **model_kwargs,
):
    """Generate with a corelm sampler in place of transformers' processors.

    Call `model.generate(**inputs, custom_generate=corelm_loop, sampler="min_p(p=0.05)", seed=7)`.
    It reads the attention mask, so rows may have any padding on the left.

    Args:
        model, input_ids, logits_processor, stopping_criteria, generation_config, model_kwargs:
            as transformers passes them.
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers, as in `corelm.generate`; None leaves the draw to
            transformers.
        tokenizer: the model's, for samplers that name words, and to tell its start token from the
            text. `generate` passes neither it nor a streamer to a loop, so they are looked up in
            the call.
        stop_strings: end a text where one of these occurs, which needs the tokenizer.
        num_return_sequences: the number of texts for each prompt; `do_sample` need not be set.

    Raises:
        CorelmError: no such sampler, a seed that is not a whole number of at least 0, stop strings
            without a tokenizer, or settings that ask for another way to generate, such as beams
            or an assistant.
    """
    call = options_of_call(corelm_loop)
    mode = generation_config.get_generation_mode(call.get("assistant_model"))
    if mode not in MODES:
        raise CorelmError(
            f"corelm_loop draws one token after the other and does no {mode.replace('_', ' ')}; "
            "leave out the settings that ask for it, or pass as_logits_processor() to generate()"
        )
    if logits_processor:
        names = ", ".join(type(processor).__name__ for processor in logits_processor)
        logger.warning("corelm_loop applies %s in place of %s", sampler, names)
    if tokenizer is None:
        tokenizer = call.get("tokenizer")
    if stop_strings and tokenizer is None:
        raise UsageError("stop_strings are compared with the letters of tokens: pass the tokenizer")
    if stop_strings:
        stopping_criteria.append(StopStringCriteria(tokenizer, stop_strings))
    if num_return_sequences:
        input_ids, model_kwargs = model._expand_inputs_for_generation(
            num_return_sequences, model.config.is_encoder_decoder, input_ids, **model_kwargs
        )
    lengths = _padding(model_kwargs.get("attention_mask"), input_ids)
    processor = SamplerProcessor(sampler, seed, tokenizer, lengths=lengths)
    # With a seed the processor leaves one token, which a greedy loop takes without a draw.
    generation_config.do_sample = seed is None
    return model._sample(
        input_ids,
        LogitsProcessorList([processor]),
        stopping_criteria,
        generation_config,
        streamer=call.get("streamer"),
        **model_kwargs,
    )


def _padding(mask, input_ids):
    """Return (batch,) the number of padding tokens on the left of each row.

    Args:
        mask: (batch, time), 0 for padding; None if nothing is masked.
        input_ids: (batch, time); a prompt of embeddings has none, so its mask doesn't apply to ids.
    """
    if mask is None or mask.shape != input_ids.shape:
        return [0] * len(input_ids)
    return (mask != 0).int().argmax(dim=1).cpu().numpy()
