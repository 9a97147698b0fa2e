"""The rows of a report while it is made: each one sampler, until it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corelm import Sampler
from corelm.reports.document.provenance import described
from corelm.reports.measure.settings import Candidate
from corelm.toolkit import Strategy

Document = dict[str, Any]


@dataclass
class Row:
    """One sampler during the run, until it fails."""

    candidate: Candidate
    sampler: Sampler
    target: float | None = None
    error: dict[str, str] | None = None

    @property
    def strategy(self) -> Strategy:
        """The sampler and the decoder around it."""
        return Strategy(self.sampler, self.candidate.decoder)

    @property
    def name(self) -> str:
        """The name that the row has in the report."""
        return str(self.strategy)

    @property
    def writes_one_text(self) -> bool:
        """True for a decoder that draws nothing at random: it has one text for each prompt."""
        decoder = self.candidate.decoder
        return decoder is not None and decoder.is_deterministic

    def described(self) -> Document:
        """Describe the sampler; if its parameter was not found, as the user wrote it."""
        found = {
            **described(self.strategy),
            "sweep": self.candidate.sweep,
            "matched": self._match(),
        }
        if self.candidate.open is not None and self.sampler is self.candidate.sampler:
            return found | {"sampler": self.candidate.row, "params": {}, "temperature": None}
        return found

    def _match(self) -> Document | None:
        """Say what its open parameter was matched to."""
        open_, target = self.candidate.open, self.candidate.target
        if open_ is None or target is None:
            return None
        return {"open": open_, "figure": target.figure, "target": self.target, "asked": str(target)}

    def take(self, result: Document) -> Document | None:
        """Accept the result of a unit; return None if the sampler failed in it."""
        self.error = self.error or result.get("error")
        return None if self.error else result
