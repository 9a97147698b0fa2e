"""Figures of sets of texts: pure functions on token ids, for models' manifests and reports."""
