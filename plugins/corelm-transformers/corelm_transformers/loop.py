"""A generation loop for `model.generate(custom_generate=corelm_loop)`."""

import logging

from transformers import LogitsProcessorList

from corelm.interop import vocabulary_of
from corelm_transformers.processor import SamplerProcessor

logger = logging.getLogger("corelm.transformers")


def corelm_loop(
    model,
    input_ids,
    logits_processor,
    stopping_criteria,
    generation_config,
    sampler="stochastic",
    seed=None,
    tokenizer=None,
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
        tokenizer: the model's, for samplers that name words, and to leave its start token out of
            the text.

    Raises:
        CorelmError: no such sampler, or a seed that is not a whole number of at least 0.
    """
    if logits_processor:
        names = ", ".join(type(processor).__name__ for processor in logits_processor)
        logger.warning("corelm_loop applies %s in place of %s", sampler, names)
    mask = model_kwargs.get("attention_mask")  # None if nothing is masked
    lengths = None if mask is None else (mask != 0).int().argmax(dim=1).cpu().numpy()
    vocabulary = None if tokenizer is None else vocabulary_of(tokenizer)
    if lengths is None:
        lengths = [0] * len(input_ids)
    processor = SamplerProcessor(sampler, seed, vocabulary, lengths=lengths)
    # With a seed the processor leaves one token, which a greedy loop takes without a draw.
    generation_config.do_sample = seed is None
    return model._sample(
        input_ids,
        LogitsProcessorList([processor]),
        stopping_criteria,
        generation_config,
        **model_kwargs,
    )
