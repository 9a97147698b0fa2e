"""Entropy comparison reports: measure samplers, keep one document, render every form of it."""
