"""Find out which distribution an inference engine really draws from.

Tiny models have logits that are known by construction, so the distribution of every setting is
known too. `probe` draws tokens from an engine that runs one of them, tests them against the
settings' chain, and finds the chain that explains them.
"""

from corelm_probe.engine import CallableEngine, Engine, EngineError
from corelm_probe.files import write_models
from corelm_probe.models import MODELS, ProbeModel
from corelm_probe.verdict import Verdict, probe

__all__ = [
    "MODELS",
    "CallableEngine",
    "Engine",
    "EngineError",
    "ProbeModel",
    "Verdict",
    "probe",
    "write_models",
]
