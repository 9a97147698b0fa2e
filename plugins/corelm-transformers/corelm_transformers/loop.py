"""A generation loop for `model.generate(custom_generate=corelm_loop)`."""

import logging

from transformers import LogitsProcessorList, StopStringCriteria
from transformers.generation import GenerationMode

from corelm import CorelmError
from corelm.errors import UsageError
from corelm_transformers.caller import options_of_call
from corelm_transformers.processor import SamplerProcessor

logger = logging.getLogger("corelm.transformers")

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
