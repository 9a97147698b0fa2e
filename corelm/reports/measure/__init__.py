"""Measures a report: its plan, its units of work, its figures; and the defaults of its options."""

from corelm.reports import metrics

N, LENGTH, SEED = metrics.TEXTS, metrics.LENGTH, 1
"""The texts of each sampler for each prompt, the tokens of a text, the random seed."""
TEXTS = 5
"""The texts of each prompt that a report keeps, the first ones."""
CONTEXTS = 32
"""The number of texts on whose positions the samplers are compared, at most."""
