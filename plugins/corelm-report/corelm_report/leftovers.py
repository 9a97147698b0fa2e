"""The files that interrupted reports and studies leave, for `corelm clean`."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import hookimpl
from corelm.commands import Leftovers
from corelm_report.measure.journal import lock_path


@hookimpl
def corelm_leftovers() -> Mapping[str, Leftovers]:
    return {
        "reports": Leftovers(r".+\.jsonl", "interrupted report", lock_path),
        # Concurrent studies share the file, without a lock.
        "studies": Leftovers(r"units\.sqlite", "measurements of studies"),
    }
