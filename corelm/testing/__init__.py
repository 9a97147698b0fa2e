"""For authors of plugins: the laws that every sampler obeys, and models to test with.

    @obeys_the_laws(TopP(), TopP(p=0.1))
    def test_law(sampler, law):
        law(sampler)

Each law raises an AssertionError that names the fault and the way out. Built-in samplers and
plugins' samplers pass the same examination. So do decoders and
language models with the laws of their own.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
