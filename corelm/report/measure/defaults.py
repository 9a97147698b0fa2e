"""The settings of a report if the user gives none."""

from corelm import metrics

PROMPT, N, LENGTH, SEED = "This movie", metrics.TEXTS, metrics.LENGTH, 1
"""The prompt, the texts of each sampler for each prompt, the tokens of a text, the random seed."""
