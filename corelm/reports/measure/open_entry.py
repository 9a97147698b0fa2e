"""A sampler of a report while its units of work run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from corelm import Sampler
from corelm.reports.document.content import Failure, MatchedTo, SamplerEntry
from corelm.reports.measure.plan import Candidate
from corelm.reports.measure.provenance import described
from corelm.toolkit import Strategy

Result = dict[str, Any]
"""The result of a unit of work, as the journal stores it."""


@dataclass
class OpenEntry:
    """One sampler during the run, until it fails."""

    candidate: Candidate
    sampler: Sampler
    target: float | None = None
    error: Failure | None = None

    @property
    def strategy(self) -> Strategy:
        """The sampler and the decoder around it."""
        return Strategy(self.sampler, self.candidate.decoder)

    @property
    def name(self) -> str:
        """The name that the entry has in the report."""
        return str(self.strategy)

    @property
    def writes_one_text(self) -> bool:
        """True for a decoder that draws nothing at random: it has one text for each prompt."""
        decoder = self.candidate.decoder
        return decoder is not None and decoder.is_deterministic

    def described(self) -> SamplerEntry:
        """Return its entry without figures; with an open parameter, as the user wrote it."""
        candidate, found = self.candidate, described(self.strategy)
        found = replace(found, sweep=candidate.sweep, matched=self._match(), error=self.error)
        if candidate.open is not None and self.sampler is candidate.sampler:
            return replace(found, sampler=candidate.name, params={}, temperature=None)
        return found

    def _match(self) -> MatchedTo | None:
        """Return what its open parameter was matched to."""
        open_, asked = self.candidate.open, self.candidate.target
        if open_ is None or asked is None or self.target is None:
            return None
        return MatchedTo(open=open_, figure=asked.figure, target=self.target, asked=str(asked))

    def take(self, result: Result) -> Result | None:
        """Return the unit's result, or None if the sampler failed; keep the first error."""
        if self.error is None and "error" in result:
            self.error = Failure(**result["error"])
        return None if self.error else result
