"""For authors of plugins: the laws that every sampler obeys, and models to test with.

    @obeys_the_laws(TopP(), TopP(p=0.1))
    def test_law(sampler, law):
        law(sampler)

Each law raises an AssertionError that names the fault and the way out. Built-in samplers and
plugins' samplers pass the same examination. `obeys_the_decoder_laws` does the same for decoders,
`obeys_the_model_laws` for language models.
"""

from corelm.testing.decoder_laws import (
    DECODER_LAWS,
    obeys_the_decoder_laws,
)
from corelm.testing.enumeration import g_test, text_probabilities
from corelm.testing.laws import LAWS, obeys_the_laws
from corelm.testing.model_laws import (
    MODEL_LAWS,
    obeys_the_model_laws,
)
from corelm.testing.portable import is_portable
from corelm.testing.toy_model import ToyModel

__all__ = [
    "DECODER_LAWS",
    "LAWS",
    "MODEL_LAWS",
    "ToyModel",
    "g_test",
    "is_portable",
    "obeys_the_decoder_laws",
    "obeys_the_laws",
    "obeys_the_model_laws",
    "text_probabilities",
]
