"""Figures of sets of texts, on token ids, with their intervals and p-values, for any program."""

TEXTS, LENGTH = 64, 100
"""The default number of texts to compare, and of tokens in each with its beginning."""
BEGINNING = 4
"""The tokens of a beginning, which human text and samplers continue by default."""
