"""Samplers of ten lines, as a plugin has them, which the tests run in other engines."""

from __future__ import annotations

from corelm import Sampler, mask_logits, param, softmax


class TopA(Sampler):
    """Keep each token whose probability is at least `a` times the largest one squared."""

    a: float = param(0.2, "how much to cut; 0 keeps everything", ge=0, le=1)

    def __call__(self, logits, context):
        p = softmax(logits)
        return mask_logits(logits, p >= self.a * p.max(axis=-1, keepdims=True) ** 2)


class Fails(Sampler):
    """Raise at the third token."""

    def __call__(self, logits, context):
        if context.position > 2:
            raise ValueError("no third token")
        return logits
