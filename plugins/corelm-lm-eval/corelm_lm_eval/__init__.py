"""corelm in lm-evaluation-harness: the model `corelm`, and the metrics of corelm's plugins.

Importing this package registers both.
"""

from corelm_lm_eval.metrics import register_metrics
from corelm_lm_eval.model import CorelmLM, register_model

__all__ = ["CorelmLM"]

register_model()
register_metrics()
