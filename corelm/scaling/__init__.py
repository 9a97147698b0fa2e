"""Run work in several processes or on several machines, and record what its results depend on."""

from corelm.machine import SAME_BITS
from corelm.scaling.code_digests import code_of, loader_of
from corelm.scaling.executor import ExecutorChoice
from corelm.scaling.job import Job, differences, hashes_of_secrets
from corelm.scaling.units import Executor, Unit

__all__ = [
    "SAME_BITS",
    "Executor",
    "ExecutorChoice",
    "Job",
    "Unit",
    "code_of",
    "differences",
    "hashes_of_secrets",
    "loader_of",
]
