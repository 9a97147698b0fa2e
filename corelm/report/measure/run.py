"""The work of a report: its units, one after the other, and the document made of what they give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from corelm.errors import SamplerError, UsageError
from corelm.generation.generate import batches
from corelm.language_model import never_drawn
from corelm.plugins.expressions import sampler as read_sampler
from corelm.report.document.provenance import described, failed_plugins, made_with, name_of
from corelm.report.measure import generated_texts, human, on_contexts
from corelm.report.measure.contexts import Contexts, human_contexts, model_contexts
from corelm.report.measure.entropy_matching import Matcher
from corelm.report.measure.journal import Journal
from corelm.report.measure.playground import try_it
from corelm.report.measure.settings import CONTEXTS, Candidate, Settings
from corelm.report.measure.temperature_curve import curve, temperatures
from corelm.sampler import Sampler

SOME = 16
"""Texts in a unit of work on the same contexts."""
INTERVALS = (
    "95 %: bootstrap over texts for means, Wilson's score interval for shares of texts, jackknife "
    "over texts for figures of a whole set"
)

Progress = Callable[[str, int, int], None]
"""Is told a stage, how many of its units are done, and how many there are."""
Document = dict[str, Any]


@dataclass
class Row:
    """One sampler on its way through the work, until it fails."""

    candidate: Candidate
    sampler: Sampler
    error: dict[str, str] | None = None

    def described(self) -> Document:
        """What is measured; where no parameter could be found, what was asked for."""
        found = described(self.sampler)
        if self.candidate.open is not None and self.sampler is self.candidate.sampler:
            return found | {"sampler": self.candidate.open, "params": {}}
        return found

    def take(self, result: Document) -> Document | None:
        """What a unit gave; None where the sampler failed in it."""
        self.error = self.error or result.get("error")
        return None if self.error else result


class ReportRun:
    """A report under way.

    Args:
        settings: what is asked for.
        journal: the units that are finished.
        progress: is told how far it has come.
    """

    def __init__(self, settings: Settings, journal: Journal, progress: Progress) -> None:
        self._settings = settings
        self._journal = journal
        self._progress = progress
        self._rows = [Row(candidate, candidate.sampler) for candidate in settings.candidates]

    def document(self) -> Document:
        """Do the units that are not done yet, and put everything together.

        Raises:
            ModelOutputError: logits that no sampler could use.
            UsageError: there is nothing to measure, or nothing to match.
        """
        settings = self._settings
        texts = self._texts()
        contexts = texts.some(range(min(CONTEXTS, len(texts.texts))))
        people = self._people(texts, len(contexts.texts))
        matcher = Matcher(settings.model, contexts)
        target = self._target(people, matcher)
        self._match(matcher, target)
        at = temperatures([row.sampler for row in self._rows])
        same = self._on_contexts(contexts, at)
        own = self._generated_texts()
        size, never = len(settings.model.vocabulary), never_drawn(settings.model.vocabulary)
        return {
            "schema": "corelm.report/1",
            "header": self._header(contexts, target),
            "units": "nats",
            "vocabulary": size,
            "drawable": size - len(never),
            "bounds": {"min": 0.0, "max": math.log(size - len(never))},
            "reference": people,
            "samplers": list(self._documents(same["samplers"], own, human.band(people))),
            "curve": curve(same["curve"], at),
            "try_it": try_it(settings.model, settings.prompts[0]),
            "warnings": list(settings.warnings),
        }

    def _texts(self) -> Contexts:
        """The contexts of the samplers, and where people wrote them more texts of the same kind."""
        found = self._journal.do("contexts", lambda: asdict(self._fresh_texts()))
        texts, given = tuple(map(tuple, found["texts"])), tuple(found["given"])
        return Contexts(found["source"], found["description"], texts, given)

    def _fresh_texts(self) -> Contexts:
        s = self._settings
        if s.reference is None:
            prompts, each = len(s.prompts), min(s.n, -(-CONTEXTS // len(s.prompts)))
            by_prompt = model_contexts(s.model, s.prompts, each, s.length, s.seed)
            # The first sample of every prompt, then the second: no prompt is left out.
            return by_prompt.some([p * each + i for i in range(each) for p in range(prompts)])
        whole = human_contexts(s.model, s.reference.texts, s.reference.description)
        pairs = zip(whole.texts, whole.given, strict=True)
        cut = tuple(text[: given + s.length] for text, given in pairs)
        return Contexts(whole.source, whole.description, cut, whole.given)

    def _people(self, texts: Contexts, some: int) -> Document | None:
        """The human row: from human texts, else from what the model's bundle says."""
        if texts.source != "human":
            return human.from_manifest(self._settings)
        record = self._measured("human texts", texts, [], ())["model"]
        return human.from_texts(self._settings.model, texts, record, some)

    def _target(self, people: Document | None, matcher: Matcher) -> float | None:
        """The entropy to match, in nats; that of people is carried over to these contexts."""
        match = self._settings.match
        if match is None or match != "human":
            return None if match is None else float(match)
        share = human.share_of_the_models_entropy(people)
        if share is None:
            raise UsageError(
                "there are no human texts to match: name some with a reference, or give the "
                "entropy in nats"
            )
        own = self._journal.do("entropy of the model", lambda: {"mean": matcher.model_entropy()})
        return float(share * own["mean"])

    def _match(self, matcher: Matcher, target: float | None) -> None:
        """Find the parameters that candidates leave open."""
        rows = [row for row in self._rows if row.candidate.open is not None]
        if target is None or not rows:
            return
        for done, row in enumerate(rows):
            self._progress("matching", done, len(rows))
            name = row.candidate.row
            found = row.take(
                self._attempt(f"match {name}", partial(_matched, matcher, name, target))
            )
            row.sampler = read_sampler(found["value"]) if found else row.sampler
        self._progress("matching", len(rows), len(rows))

    def _on_contexts(self, contexts: Contexts, at: Sequence[float]) -> Document:
        """What `on_contexts.measure` says; its `samplers` are as the rows are."""
        samplers = [row.sampler for row in self._rows if row.error is None]
        found = self._measured("same contexts", contexts, samplers, at)
        records = iter(found["samplers"])
        found["samplers"] = [
            {} if row.error else (row.take(next(records)) or {}) for row in self._rows
        ]
        return found

    def _measured(
        self, stage: str, contexts: Contexts, samplers: list[Sampler], at: Sequence[float]
    ) -> Document:
        """What `on_contexts.measure` says of all texts, some of them at a time."""
        model, n = self._settings.model, len(contexts.texts)
        units = []
        for first in range(0, n, SOME):
            self._progress(stage, first, n)
            some = range(first, min(first + SOME, n))
            work = partial(on_contexts.measure, model, contexts, samplers, some, at)
            units.append(self._journal.do(f"{stage} {first}", work))
        self._progress(stage, n, n)
        return on_contexts.merge(units)

    def _generated_texts(self) -> list[list[generated_texts.Record]]:
        """The texts of each sampler that has not failed; their number is that of the rows."""
        s = self._settings
        parts = [(prompt, samples) for prompt in s.prompts for samples in batches(s.n)]
        found: list[list[generated_texts.Record]] = [[] for _ in self._rows]
        for at, row in enumerate(self._rows):
            for number, (prompt, samples) in enumerate(parts):
                self._progress("own texts", at * len(parts) + number, len(found) * len(parts))
                if row.error is None:
                    work = partial(
                        generated_texts.draw,
                        s.model,
                        prompt,
                        row.sampler,
                        s.length,
                        samples,
                        s.seed,
                    )
                    result = row.take(self._attempt(f"own texts {at} {number}", work))
                    found[at] += result["value"] if result else []
        self._progress("own texts", len(found) * len(parts), len(found) * len(parts))
        return found

    def _attempt(self, unit: str, work: Callable[[], Any]) -> Document:
        """The value of a unit of one sampler, or the error that it failed with."""

        def attempt() -> Document:
            try:
                return {"value": work()}
            except (SamplerError, UsageError) as error:
                return {"error": {"type": type(error).__name__, "message": str(error)}}

        result: Document = self._journal.do(unit, attempt)
        return result

    def _documents(
        self,
        same: list[Document],
        own: list[list[generated_texts.Record]],
        band: tuple[float, float] | None,
    ) -> Iterator[Document]:
        """What a report has of each sampler."""
        for done, (row, measurements, texts) in enumerate(zip(self._rows, same, own, strict=True)):
            self._progress("figures", done, len(own))
            measured: Document = {"same_contexts": None, "own_texts": None, "texts": []}
            if row.error is None:
                measured = {
                    "same_contexts": on_contexts.summary(measurements),
                    "own_texts": generated_texts.summary(texts, band),
                    "texts": generated_texts.shown(texts),
                }
            yield {**row.described(), "error": row.error, **measured}
        self._progress("figures", len(own), len(own))

    def _header(self, contexts: Contexts, target: float | None) -> Document:
        """What there is to know about a report besides its figures; the command is left open."""
        s = self._settings
        return {
            **made_with(),
            "command": None,
            "model": {"name": s.model_name, "sha256": s.sha256},
            "scorer": s.model_name,
            "prompts": list(s.prompts),
            "n": s.n,
            "length": s.length,
            "seed": s.seed,
            "contexts": {
                "source": contexts.source,
                "description": contexts.description,
                "texts": len(contexts.texts),
                "positions": contexts.positions,
            },
            "failed_plugins": failed_plugins(),
            "settings_tried": dict(Counter(name_of(row.sampler) for row in self._rows)),
            "match_entropy": target,
            "ci": INTERVALS,
        }


def _matched(matcher: Matcher, expression: str, target: float) -> str:
    return str(matcher.match(expression, target))
