"""Sampling strategies for language models, as plugins: exact, composable, reproducible.

A sampling strategy is a pure map from one next-token distribution to another. The model says
what is likely, the sampler says which distribution to draw from, the core draws once.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
