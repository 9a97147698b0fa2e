"""Figures of sets of texts: pure functions on token ids, for manifests of models and reports."""

TEXTS, LENGTH = 64, 100
"""The default number of texts to compare, and of tokens in each."""
