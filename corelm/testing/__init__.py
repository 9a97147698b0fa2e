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
    draws_possible_tokens,
    ends_each_text,
    ignores_the_seed_if_deterministic,
    matches_ancestral_sampling,
    obeys_the_decoder_laws,
    repeats_its_texts,
    reports_what_it_drew_from,
    reports_what_masks_allow,
    treats_samples_alone,
    writes_nothing_when_nothing_is_asked,
)
from corelm.testing.enumeration import g_test, text_probabilities
from corelm.testing.laws import (
    LAWS,
    changes_nothing_when_neutral,
    ignores_a_constant,
    is_a_distribution,
    is_never_broken,
    is_portable,
    keeps_the_most_likely_token,
    leaves_its_input_alone,
    never_restores_a_token,
    obeys_the_laws,
    reads_only_what_it_declares,
    repeats_itself,
    survives_a_point_mass,
    survives_extreme_values,
    treats_rows_alone,
    treats_tokens_alike,
)
from corelm.testing.model_laws import (
    MODEL_LAWS,
    extends_as_it_starts,
    follows_any_operations,
    forgets_what_it_rewinds,
    obeys_the_model_laws,
    reads_back_its_texts,
    returns_distributions,
    returns_logits,
    selects_rows,
    slides_its_window,
    treats_texts_alone,
)
from corelm.testing.toy_model import ToyModel

__all__ = [
    "DECODER_LAWS",
    "LAWS",
    "MODEL_LAWS",
    "ToyModel",
    "changes_nothing_when_neutral",
    "draws_possible_tokens",
    "ends_each_text",
    "extends_as_it_starts",
    "follows_any_operations",
    "forgets_what_it_rewinds",
    "g_test",
    "ignores_a_constant",
    "ignores_the_seed_if_deterministic",
    "is_a_distribution",
    "is_never_broken",
    "is_portable",
    "keeps_the_most_likely_token",
    "leaves_its_input_alone",
    "matches_ancestral_sampling",
    "never_restores_a_token",
    "obeys_the_decoder_laws",
    "obeys_the_laws",
    "obeys_the_model_laws",
    "reads_back_its_texts",
    "reads_only_what_it_declares",
    "repeats_its_texts",
    "repeats_itself",
    "reports_what_it_drew_from",
    "reports_what_masks_allow",
    "returns_distributions",
    "returns_logits",
    "selects_rows",
    "slides_its_window",
    "survives_a_point_mass",
    "survives_extreme_values",
    "text_probabilities",
    "treats_rows_alone",
    "treats_samples_alone",
    "treats_texts_alone",
    "treats_tokens_alike",
    "writes_nothing_when_nothing_is_asked",
]
