"""A generation loop for `model.generate(custom_generate=corelm_loop)`."""

import logging

from transformers import LogitsProcessorList

from corelm import CorelmError
from corelm_transformers.caller import tokenizer_of_call
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
        tokenizer: the model's, for samplers that name words, and to tell its start token from the
            text. `generate` does not pass it to a loop, so it is looked up in the call.

    Raises:
        CorelmError: no such sampler, a seed that is not a whole number of at least 0, or beams.
    """
    if (generation_config.num_beams or 1) > 1:
        raise CorelmError(
            "corelm_loop draws texts and searches no beams; leave out num_beams, or pass "
            "as_logits_processor() without a seed to generate()"
        )
    if logits_processor:
        names = ", ".join(type(processor).__name__ for processor in logits_processor)
        logger.warning("corelm_loop applies %s in place of %s", sampler, names)
    if tokenizer is None:
        tokenizer = tokenizer_of_call(corelm_loop)
    lengths = _padding(model_kwargs.get("attention_mask"), input_ids)
    processor = SamplerProcessor(sampler, seed, tokenizer, lengths=lengths)
    # With a seed the processor leaves one token, which a greedy loop takes without a draw.
    generation_config.do_sample = seed is None
    return model._sample(
        input_ids,
        LogitsProcessorList([processor]),
        stopping_criteria,
        generation_config,
        **model_kwargs,
    )


def _padding(mask, input_ids):
    """Return (batch,) the number of padding tokens on the left of each row.

    Args:
        mask: (batch, time), 0 for padding; None if nothing is masked.
        input_ids: (batch, time); a prompt of embeddings has none, so its mask is no mask of ids.
    """
    if mask is None or mask.shape != input_ids.shape:
        return [0] * len(input_ids)
    return (mask != 0).int().argmax(dim=1).cpu().numpy()
