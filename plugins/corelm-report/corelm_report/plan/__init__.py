"""The plan of a report: what to measure, and the defaults of its options."""

from corelm_report import metrics

N, LENGTH, SEED = metrics.TEXTS, metrics.LENGTH, 1
"""The texts of each sampler for each prompt, the tokens of a text, the random seed."""
TEXTS = 5
"""The texts of each prompt that a report keeps, the first ones."""
CONTEXTS = 32
"""The number of texts on whose positions the samplers are compared, at most."""
DEFAULT = ("greedy", *(f"temperature(t={t})" for t in (0.2, 0.5, 0.7, 1.0, 1.5)), "uniform",
           "top_p(p=0.9)")  # fmt: skip
MATCHED = ("temperature", "top_p", "min_p", "typical")
"""The samplers to compare and to match by default; the built-in ones."""
