"""Run work in several processes or on several machines, and record what its results depend on."""

import typing

from corelm.lazy import on_first_use

if typing.TYPE_CHECKING:
    from corelm.scaling.dependencies import Dependencies as Dependencies
    from corelm.scaling.executor import Executor as Executor
    from corelm.scaling.job import differences as differences
    from corelm.scaling.units import Unit as Unit

__all__ = ["Dependencies", "Executor", "Unit", "differences"]

_HOMES = {
    "Dependencies": "corelm.scaling.dependencies:Dependencies",
    "Executor": "corelm.scaling.executor:Executor",
    "Unit": "corelm.scaling.units:Unit",
    "differences": "corelm.scaling.job:differences",
}
"""The module of each name, imported on first use: a report that is only read needs none."""

__getattr__ = on_first_use(__name__, _HOMES)
