"""A sampler that reads the context."""

import corelm


class WarmUp(corelm.Sampler):
    """Sharpen the first tokens of a text."""

    n: int = corelm.param(0, "tokens to sharpen", ge=0)

    kind = "temperature"
    neutral = {"n": 0}
    example = {"n": 2}
    reads = {"position"}
    is_argmax_invariant = True

    def __call__(self, logits, context):
        return corelm.apply_temperature(logits, 0.5) if context.position < self.n else logits


@corelm.hookimpl
def corelm_samplers():
    return {"warm_up": WarmUp}
