"""The plan of a report: the measurements, and the defaults of its options."""

from corelm_report import metrics

N, LENGTH, SEED = metrics.TEXTS, metrics.LENGTH, 1
"""The texts of each sampler for each prompt, the tokens of a text, the random seed."""
TEXTS = 5
"""The number of each prompt's first texts that a report keeps."""
CONTEXTS = 32
"""The most texts on whose positions the samplers are compared."""
DEFAULT = ("greedy", *(f"temperature(t={t})" for t in (0.2, 0.5, 0.7, 1.0, 1.5)), "uniform",
           "top_p(p=0.9)")  # fmt: skip
MATCHED = ("temperature", "top_p", "min_p", "typical")
"""The default samplers to compare or match, corelm's own."""
