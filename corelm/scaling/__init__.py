"""Run work in several processes or on several machines, and record what its results depend on."""

import typing

from corelm.lazy import OnFirstUse

if typing.TYPE_CHECKING:
    from corelm.scaling.code_digests import code_of as code_of
    from corelm.scaling.executor import ExecutorChoice as ExecutorChoice
    from corelm.scaling.job import Job as Job
    from corelm.scaling.job import differences as differences
    from corelm.scaling.job import hashes_of_secrets as hashes_of_secrets
    from corelm.scaling.units import Executor as Executor
    from corelm.scaling.units import Unit as Unit

__all__ = [
    "Executor",
    "ExecutorChoice",
    "Job",
    "Unit",
    "code_of",
    "differences",
    "hashes_of_secrets",
]

__getattr__ = OnFirstUse(
    __name__,
    {
        "corelm.scaling.code_digests": ("code_of",),
        "corelm.scaling.executor": ("ExecutorChoice",),
        "corelm.scaling.job": (
            "Job",
            "differences",
            "hashes_of_secrets",
        ),
        "corelm.scaling.units": (
            "Executor",
            "Unit",
        ),
    },
)
"""The module of each name, imported on first use: a report that is only read needs none."""
