"""The run of a report: its units of work, one after the other, and the document they make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from corelm import Sampler
from corelm import sampler as read_sampler
from corelm.errors import UsageError
from corelm.reports.document.fronts import fronts
from corelm.reports.document.lookup import HUMAN
from corelm.reports.document.provenance import name_of
from corelm.reports.measure import generated_texts, human, on_contexts
from corelm.reports.measure.contexts import Contexts, human_contexts
from corelm.reports.measure.differences import (
    Measured,
    best_settings,
    closest,
    from_people,
    from_row,
)
from corelm.reports.measure.header import header, warnings
from corelm.reports.measure.journal import Journal
from corelm.reports.measure.kept_texts import is_kept, kept_texts
from corelm.reports.measure.playground import try_it
from corelm.reports.measure.plugin_metrics import Comparison
from corelm.reports.measure.rows import Row
from corelm.reports.measure.scoring import Score
from corelm.reports.measure.settings import Settings
from corelm.reports.measure.sources import sources
from corelm.reports.measure.stages import Progress, Stages
from corelm.reports.measure.targets import Target
from corelm.reports.measure.temperature_curve import curve, temperatures
from corelm.reports.measure.text_set import TextSet
from corelm.reports.measure.units import (
    DrawContexts,
    DrawTexts,
    Match,
    Matchers,
    MeasureOnContexts,
    ModelEntropy,
    ScoreTexts,
)
from corelm.reports.metrics.positions import Band
from corelm.scaling.executor import Executor
from corelm.toolkit import Strategy, batches, never_drawn

UNIT = 16
"""The number of texts in a unit of work on the same contexts."""
SCORER = 1
"""The number of the second scorer among the models of an executor."""
Document = dict[str, Any]


class ReportRun:
    """The run of one report.

    Args:
        settings: the settings of the report.
        executor: does the units of work.
        journal: the units that are finished.
        progress: called at every unit.
    """

    def __init__(
        self, settings: Settings, executor: Executor, journal: Journal, progress: Progress
    ) -> None:
        self._settings = settings
        self._stages = Stages(executor, journal, progress)
        self._targets: dict[Target, float] = {}
        self._comparison: Comparison | None = None
        self._rows = [Row(candidate, candidate.sampler) for candidate in settings.candidates]

    def document(self) -> Document:
        """Run the units that are not finished, and return the document of the report.

        Raises:
            ModelOutputError: the model returned logits that no sampler can use.
            UsageError: there is nothing to measure, or nothing to match.
        """
        settings = self._settings
        texts = self._texts()
        if texts.source == "human":
            scorer = settings.scorer.model if settings.scorer else settings.model
            self._comparison = Comparison(human.written(settings.model, texts), scorer)
        contexts = texts.some(range(min(settings.contexts, len(texts.texts))))
        people = self._people(texts, len(contexts.texts))
        if settings.against == HUMAN and people is None:
            raise UsageError(
                "there is no human text to compare with: give some as the reference, or compare "
                "with one of the samplers"
            )
        matchers = Matchers(contexts)
        self._targets = self._target_values(people, matchers)
        self._match(matchers)
        at = temperatures([row.sampler for row in self._rows if row.candidate.decoder is None])
        measured = self._on_contexts(contexts, at)
        generated = self._generated_texts()
        rows = self._measurements(measured["samplers"], generated, human.band(people))
        size, never = len(settings.model.vocabulary), never_drawn(settings.model.vocabulary)
        written_by_people = measured["model"] if contexts.source == "human" else None
        documents = list(self._documents(rows, people, written_by_people))
        return {
            "schema": "corelm.report/1",
            "header": {
                **header(settings, self._rows, self._targets, contexts),
                "sources": sources(documents),
            },
            "units": "nats",
            "vocabulary": size,
            "drawable": size - len(never),
            "bounds": {"min": 0.0, "max": math.log(size - len(never))},
            "reference": people,
            "samplers": documents,
            "closest": closest(self._named(rows), people),
            "best": best_settings(self._named(rows), self._names(), people),
            "fronts": fronts(documents),
            "curve": curve(measured["curve"], at),
            "try_it": try_it(settings.model, settings.prompts[0]),
            "warnings": list(warnings(settings, self._rows, contexts)),
        }

    def _texts(self) -> Contexts:
        """The contexts of the samplers; if people wrote them, further texts behind those."""
        s = self._settings
        if s.reference is None:
            each = min(s.n, -(-s.contexts // len(s.prompts)))
            unit = DrawContexts(s.prompts, each, s.length, s.seeds[0])
            found = self._stages.result(unit)
            texts, lengths = tuple(map(tuple, found["texts"])), tuple(found["prompt_lengths"])
            return Contexts(found["source"], found["description"], texts, lengths)
        whole = human_contexts(s.model, s.reference.texts, s.reference.description)
        pairs = zip(whole.texts, whole.prompt_lengths, strict=True)
        cut = tuple(text[: prompt + s.length] for text, prompt in pairs)
        return Contexts(whole.source, whole.description, cut, whole.prompt_lengths)

    def _people(self, texts: Contexts, some: int) -> Document | None:
        """The human row, from human texts or else from the manifest of the model."""
        if texts.source != "human":
            return human.from_manifest(self._settings)
        record = self._measured("human texts", texts, [], ())["model"]
        s = self._settings
        return human.from_texts(s.model, texts, record, some, s.metrics, self._scores_of_people)

    def _scores_of_people(self, texts: Sequence[generated_texts.Record]) -> list[Score]:
        [scores] = self._scores("second scorer, human texts", [texts])
        return scores

    def _target_values(self, people: Document | None, matchers: Matchers) -> dict[Target, float]:
        """The value of each target; that of people is converted to these contexts."""
        return {
            target: self._of_people(people, matchers) if target.value is None else target.value
            for target in self._settings.match
        }

    def _of_people(self, people: Document | None, matchers: Matchers) -> float:
        """The entropy or the surprisal of people on these contexts, in nats."""
        share = human.share_of_the_models_entropy(people)
        if share is None:
            raise UsageError(
                "there are no human texts to match: give some as the reference, or give a number "
                "of nats"
            )
        unit = ModelEntropy(matchers)
        own = self._stages.result(unit)
        return float(share * own["mean"])

    def _match(self, matchers: Matchers) -> None:
        """Find the parameters that candidates leave open."""
        rows, units = [], []
        for row in self._rows:
            open_, target = row.candidate.open, row.candidate.target
            if open_ is not None and target is not None:
                row.target = self._targets[target]
                rows.append(row)
                units.append(Match(open_, target.figure, row.target, matchers))
        results = self._stages.results("matching", units, len(units)) if units else ()
        for row, (_, result) in zip(rows, results, strict=True):
            found = row.take(result)
            row.sampler = read_sampler(found["value"]) if found else row.sampler

    def _on_contexts(self, contexts: Contexts, at: Sequence[float]) -> Document:
        """The result of `on_contexts.measure`, with one of its `samplers` for every row.

        A decoder has none: the next token depends on what it has searched.
        """
        rows = [row for row in self._rows if row.error is None and row.candidate.decoder is None]
        found = self._measured("teacher forcing", contexts, [row.sampler for row in rows], at)
        records = {id(row): each for row, each in zip(rows, found["samplers"], strict=True)}
        found["samplers"] = [
            (row.take(records[id(row)]) or {}) if id(row) in records else {} for row in self._rows
        ]
        return found

    def _measured(
        self, stage: str, contexts: Contexts, samplers: list[Sampler], at: Sequence[float]
    ) -> Document:
        """The result of `on_contexts.measure` on all texts, one unit of them after the other."""
        n, strategies = len(contexts.texts), tuple(map(Strategy, samplers))
        parts = [range(first, min(first + UNIT, n)) for first in range(0, n, UNIT)]
        units = [
            MeasureOnContexts(stage, part[0], contexts.some(part), strategies, tuple(at))
            for part in parts
        ]
        return on_contexts.merge(
            [result for _, result in self._stages.results(stage, units, len(units))]
        )

    def _generated_texts(self) -> list[list[generated_texts.Record]]:
        """The texts of each row; none for a sampler that has failed."""
        s = self._settings
        counted = any(row.candidate.decoder for row in self._rows)
        parts = [
            [
                (seed, p, part)
                for seed in self._seeds(row)
                for p in s.prompts
                for part in self._parts(row)
            ]
            for row in self._rows
        ]
        units = (
            DrawTexts(at, number, prompt, row.strategy, s.length, samples, seed,
                      counted and len(samples) == 1)
            for at, row in enumerate(self._rows)
            for number, (seed, prompt, samples) in enumerate(parts[at])
            if row.error is None
        )  # fmt: skip
        found: list[list[generated_texts.Record]] = [[] for _ in self._rows]
        for unit, result in self._stages.results("generated texts", units, sum(map(len, parts))):
            record = self._rows[unit.row].take(result)
            found[unit.row] += [
                text
                if is_kept(text, s.seeds[0], s.texts)
                else generated_texts.without_details(text)
                for text in (record["value"] if record else [])
            ]
        return found

    def _seeds(self, row: Row) -> tuple[int, ...]:
        """The seeds of a row: one for a decoder that draws nothing at random."""
        return self._settings.seeds[:1] if row.writes_one_text else self._settings.seeds

    def _parts(self, row: Row) -> Iterator[range]:
        """The samples of a row that are decoded together.

        Next to a decoder the first one is decoded alone, to count the calls of the model.
        """
        n = self._settings.n
        if not any(each.candidate.decoder for each in self._rows):
            return batches(n)
        if row.writes_one_text:
            return iter([range(1)])
        return chain([range(1)], (range(p.start + 1, p.stop + 1) for p in batches(n - 1)))

    def _measurements(
        self, records: list[Document], texts: list[list[generated_texts.Record]], band: Band | None
    ) -> list[Measured | None]:
        """The measurements of each row; None for a sampler that has failed."""
        found: list[Measured | None] = []
        scored = self._scores("second scorer", texts)
        for row, record, drawn, scores in zip(self._rows, records, texts, scored, strict=True):
            self._stages.progress("figures", len(found), len(self._rows))
            found.append(None if row.error else self._measure(record, drawn, band, scores))
        self._stages.progress("figures", len(self._rows), len(self._rows))
        return found

    def _measure(
        self,
        record: Document,
        drawn: list[generated_texts.Record],
        band: Band | None,
        scores: list[Score],
    ) -> Measured:
        texts = TextSet(drawn, band, self._settings.metrics, scores, self._comparison)
        return Measured(record, texts)

    def _scores(
        self, stage: str, texts: Sequence[Sequence[generated_texts.Record]]
    ) -> list[list[Score]]:
        """The scores of the texts of each row under the second scorer; none without one."""
        found: list[list[Score]] = [[] for _ in texts]
        if self._settings.scorer is None:
            return found
        units = [
            ScoreTexts(stage, row, some.start, tuple((t["prompt"], t["text"]) for t in part))
            for row, drawn in enumerate(texts)
            for some in batches(len(drawn))
            if (part := drawn[some.start : some.stop])
        ]
        for unit, scores in self._stages.results(stage, units, len(units), SCORER):
            found[unit.row] += scores
        return found

    def _names(self) -> dict[str, str]:
        """The registered name of each row."""
        return {row.name: name_of(row.strategy) for row in self._rows}

    def _named(self, measured: list[Measured | None]) -> dict[str, Measured]:
        """The measurements by the name that a row has in the report."""
        pairs = zip(self._rows, measured, strict=True)
        return {row.name: own for row, own in pairs if own is not None}

    def _documents(
        self,
        measured: list[Measured | None],
        people: Document | None,
        contexts: Document | None,
    ) -> Iterator[Document]:
        """The part of the report about each sampler.

        Args:
            measured: the measurements of each.
            people: the human row.
            contexts: the record of the model on the contexts, if people wrote them.
        """
        rows = {row.candidate.row: row.name for row in self._rows}
        against = self._settings.against or (HUMAN if people else next(iter(rows)))
        name = rows.get(against, against)
        other = self._named(measured).get(name)
        for row, own in zip(self._rows, measured, strict=True):
            figures: Document = {"teacher_forced": None, "generated_texts": None, "texts": []}
            differences = None
            if own is not None:
                figures = {
                    "teacher_forced": on_contexts.summary(own.record, contexts)
                    if own.record
                    else None,
                    "generated_texts": own.texts.summary(),
                    "texts": kept_texts(own.texts, self._settings.texts),
                }
                if people and against == HUMAN:
                    differences = from_people(figures, own, people, contexts)
                elif other and own is not other:
                    differences = from_row(name, own, other, contexts)
            found = {
                **row.described(),
                "error": row.error,
                **figures,
                "differences": differences,
            }
            yield found | {"failed_metrics": own.texts.failures if own else {}}
