"""Entropy comparison reports: what samplers do to the model's distributions, and to its texts."""
