"""Run work in several processes or on several machines, and record what its results depend on."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from corelm.scaling.executor import ExecutorChoice as ExecutorChoice
    from corelm.scaling.job import Dependencies as Dependencies
    from corelm.scaling.job import Job as Job
    from corelm.scaling.job import differences as differences
    from corelm.scaling.units import Executor as Executor
    from corelm.scaling.units import Unit as Unit

__all__ = [
    "Dependencies",
    "Executor",
    "ExecutorChoice",
    "Job",
    "Unit",
    "differences",
]

_HOMES = {
    "Dependencies": "corelm.scaling.job",
    "Executor": "corelm.scaling.units",
    "ExecutorChoice": "corelm.scaling.executor",
    "Job": "corelm.scaling.job",
    "Unit": "corelm.scaling.units",
    "differences": "corelm.scaling.job",
}
"""The module of each name, imported on first use: a report that is only read needs none."""


def __getattr__(name: str) -> typing.Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
