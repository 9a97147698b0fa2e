"""Figures of sets of texts: pure functions on token ids, for models' manifests and reports."""

TEXTS, LENGTH = 64, 100
"""Texts and tokens of each that are compared unless others are asked for."""
