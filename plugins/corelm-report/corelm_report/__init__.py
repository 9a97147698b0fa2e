"""Entropy comparison reports: their settings, the plan, the measurement and the document.

`corelm.compare` makes a report and `corelm.Report` reads one. For programs that go further, this
package has its `Document` as dataclasses, the JSON `schema` that it follows, `Inference` and
`Estimate`, the independent units and the intervals of its figures, and `human_figures`, which
measures human text under the `ModelScores` of a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Document": "corelm_report.document.content",
    "Estimate": "corelm_stats.estimates",
    "Inference": "corelm_stats.inference",
    "ModelScores": "corelm_stats.human_baseline",
    "human_figures": "corelm_stats.human_baseline",
    "schema": "corelm_report.document.schema",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
