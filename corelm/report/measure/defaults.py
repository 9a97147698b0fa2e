"""What a report measures where nothing is said."""

from corelm import metrics

PROMPT, N, LENGTH, SEED = "This movie", metrics.TEXTS, metrics.LENGTH, 1
"""Texts of each sampler for each prompt, tokens in a text at most, what decides all luck."""
