"""What a report measures where nothing is said."""

PROMPT, N, LENGTH, SEED = "This movie", 64, 100, 1
"""Texts of each sampler for each prompt, tokens in a text at most, what decides all luck."""
