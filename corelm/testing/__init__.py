"""For authors of plugins: the laws that every sampler obeys, and models to test with.

    @obeys_the_laws(TopP(), TopP(p=0.1))
    def test_law(sampler, law):
        law(sampler)

Each law raises an AssertionError that names the fault and the way out. Built-in samplers and
plugins' samplers pass the same examination. So do decoders and
language models with the laws of their own.
"""

from corelm.testing.all_laws import LAWS, obeys_the_laws
from corelm.testing.enumeration import g_test, text_probabilities
from corelm.testing.toy_model import ToyModel

__all__ = [
    "LAWS",
    "ToyModel",
    "g_test",
    "obeys_the_laws",
    "text_probabilities",
]
