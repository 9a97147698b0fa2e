"""For tests of laws and checks: a plain sampler, and the complaint of a law."""

from __future__ import annotations

from corelm import Sampler, param


class Plain(Sampler):
    """A sampler with two parameters that declares nothing."""

    a: float = param(1.0)
    b: float = param(2.0)

    def __call__(self, logits, context):
        return logits + 1


def complaint(law, subject):
    """Return what a law says is wrong, or nothing."""
    try:
        law(subject)
    except AssertionError as error:
        return str(error)
    return ""
