"""Run the units of work of a report, and assemble its document from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from corelm import Sampler
from corelm import sampler as read_sampler
from corelm.errors import UsageError
from corelm.runs import ContinuousBatch, ModelLogits, Strategy, Texts
from corelm_report.document.content import Document, HumanEntry, HumanHalves, SamplerEntry
from corelm_report.document.figures import HUMAN
from corelm_report.document.parts import Bounds, Curve
from corelm_report.measure import on_contexts
from corelm_report.measure.comparisons import (
    best_settings,
    closest,
    excess,
    fit_on_human_text,
    fit_on_other_text,
    shares,
    surprisal_per_entropy,
)
from corelm_report.measure.contexts import Contexts, DrawContexts, human_contexts, try_it
from corelm_report.measure.entries import Measured, from_entry, from_human, fronts, teacher_forced
from corelm_report.measure.generated_texts import DrawTexts, packed, shares_of
from corelm_report.measure.human import band, from_manifest, from_texts, written
from corelm_report.measure.journal import Journal, Progress, Result, Stages
from corelm_report.measure.matching import Match, Matcher, ModelEntropy, with_match_error
from corelm_report.measure.on_contexts import MeasureOnContexts, Record, curve, temperatures
from corelm_report.measure.plugin_metrics import HumanTexts
from corelm_report.measure.provenance import OpenEntry, header, name_of, warnings
from corelm_report.measure.text_records import (
    Score,
    ScoreTexts,
    TextRecord,
    kept_texts,
    without_details,
)
from corelm_report.measure.text_set import TextSet
from corelm_report.plan.plan import Plan, RunUnits
from corelm_report.plan.targets import Target
from corelm_report.plan.texts import HOW_TO_GIVE
from corelm_stats.inference import Inference

UNIT = 16
"""The number of texts in a unit of work on the contexts."""
SCORER = 1
"""The index of the second scorer in the report's models."""


class ReportRun:
    """The run of one report.

    Args:
        plan: what to measure.
        run: runs the units of work.
        journal: the units that are finished.
        progress: called at every unit.
    """

    def __init__(self, plan: Plan, run: RunUnits, journal: Journal, progress: Progress) -> None:
        self._plan = plan
        self._stages = Stages(run, journal, progress)
        self._targets: dict[Target, float] = {}
        self._human_texts: HumanTexts | None = None
        self._people: TextSet | None = None
        self._halves: HumanHalves | None = None
        self._entries = [OpenEntry(candidate, candidate.sampler) for candidate in plan.candidates]

    def document(self) -> Document:
        """Run the units that are not finished, and return the document of the report.

        Raises:
            ModelOutputError: the model returned logits that no sampler can use.
            UsageError: there is nothing to measure, or nothing to match.
        """
        plan = self._plan
        texts = self._texts()
        if texts.source == HUMAN:
            scorer = plan.scorer.model if plan.scorer else plan.model
            self._human_texts = HumanTexts(written(plan, texts), scorer)
        # All human texts are measured, as the human entry needs as many texts as the samplers
        # write; the samplers are compared only on the first `contexts` of them.
        contexts = texts.some(range(min(plan.contexts, len(texts.texts))))
        human = self._human(texts, len(contexts.texts))
        if plan.against == HUMAN and human is None:
            raise UsageError(
                f"there is no human text to compare with: {HOW_TO_GIVE}, or compare "
                "with one of the samplers"
            )
        # Matching comes before all measurements: it decides which samplers there are.
        if plan.match:
            self._match(contexts, human)
        at = temperatures(e.sampler for e in self._entries if e.candidate.decoder is None)
        record = self._on_contexts(contexts, at)
        if human is not None:
            human.temperature = (
                fit_on_human_text(
                    record["model"],
                    record["curve"],
                    at,
                    self._inference(contexts),
                    further=len(self._entries),
                )
                if contexts.source == HUMAN
                else fit_on_other_text(human, record["curve"], at)
            )
        drawn, of_contexts = self._generated_texts(), self._inference(contexts)
        measured = self._measurements(record["samplers"], drawn, human, of_contexts)
        words = record["model"] if contexts.source == HUMAN else None
        entries = list(self._finished(measured, human, words))
        of_temperature = curve(record["curve"], at)
        if plan.match:
            with_match_error(entries, measured, of_temperature)
        return self._assembled(contexts, human, measured, entries, of_temperature, words)

    def _assembled(
        self,
        contexts: Contexts,
        human: HumanEntry | None,
        measured: Mapping[str, Measured],
        entries: Sequence[SamplerEntry],
        of_temperature: Curve,
        words: Record | None,
    ) -> Document:
        """Return the document of these entries, with everything that follows from them."""
        plan, vocabulary = self._plan, self._plan.model.vocabulary
        # The names are final only here, after matching.
        names = {entry.name: name_of(entry.strategy) for entry in self._entries}
        tried = [name_of(entry.strategy) for entry in self._entries]
        of_one_text = [entry.name for entry in self._entries if entry.writes_one_text]
        drawable = len(vocabulary) - len(ModelLogits(vocabulary).never)
        near = closest(measured, human, plan.length, self._people)
        unlike = {*near.too_short, *near.too_long}
        alike = {name: each for name, each in measured.items() if name not in unlike}
        return Document(
            header=header(plan, tried, self._targets, contexts, entries),
            vocabulary=len(vocabulary),
            drawable=drawable,
            bounds=Bounds(min=0.0, max=math.log(drawable)),
            human=human,
            human_halves=self._halves,
            samplers=list(entries),
            closest=near.rows,
            too_few=near.too_few,
            too_short=near.too_short,
            too_long=near.too_long,
            simultaneous=near.differences,
            shares=shares(measured),
            excess=excess(measured, words),
            best=best_settings(alike, names, human),
            fronts=fronts(entries),
            curve=of_temperature,
            try_it=replace(
                try_it(plan.model, plan.prompts[0]), prompt=plan.written(plan.prompts[0])
            ),
            warnings=list(warnings(plan, contexts, entries, of_one_text)),
        )

    def _texts(self) -> Contexts:
        """Return the contexts of the samplers, followed by further human texts if there are any."""
        s = self._plan
        if s.human is None:
            # Rounded up, so that all prompts have the same number of contexts.
            each = min(s.n, -(-s.contexts // len(s.prompts)))
            unit = DrawContexts(s.prompts, each, s.length, s.seeds[0])
            contexts = self._stages.result(unit)
            texts, lengths = tuple(map(tuple, contexts["texts"])), tuple(contexts["prompt_lengths"])
            return Contexts(contexts["source"], contexts["description"], texts, lengths)
        whole = human_contexts(s.model, s.human.texts, s.human.description, s.human.prompt_lengths)
        # As long as the generated texts: entropy depends on the position.
        return whole.cut(s.length)

    def _inference(self, contexts: Contexts) -> Inference:
        """Return the independent units of the contexts."""
        n, prompts = len(contexts.texts), len(self._plan.prompts)
        if contexts.source == HUMAN:
            return Inference.of_texts(contexts.texts)
        # `DrawContexts` has the first sample of every prompt, then the second.
        samples = [(i % prompts, 0, i // prompts) for i in range(n)]
        clusters = dict(enumerate(self._plan.clusters))
        return Inference.of_design(samples, clusters=clusters, anytime=self._plan.anytime)

    def _human(self, texts: Contexts, some: int) -> HumanEntry | None:
        """Return the human entry, from human texts or otherwise from the model's manifest."""
        if texts.source != HUMAN:
            return from_manifest(self._plan)
        record = self._measured("human texts", texts, [], ())["model"]
        entry, self._people, self._halves = from_texts(
            self._plan, texts, record, some,
            lambda each: self._scores("second scorer, human texts", [each])[0],
        )  # fmt: skip
        return entry

    def _match(self, contexts: Contexts, human: HumanEntry | None) -> None:
        """Find the parameters that candidates leave open."""
        matcher = Matcher(contexts)
        for asked in self._plan.match:
            value, ratio = asked.value, surprisal_per_entropy(human)
            if value is None and ratio is None:
                raise UsageError(
                    f"there are no human texts to match: {HOW_TO_GIVE}, or give a number of nats"
                )
            if value is None:  # as human text would have on these contexts
                value = ratio * self._stages.result(ModelEntropy(matcher))["mean"]
            self._targets[asked] = value
        entries, units = [], []
        for entry in self._entries:
            open_, target = entry.candidate.open, entry.candidate.target
            if open_ is not None and target is not None:
                entry.target = self._targets[target]
                entries.append(entry)
                # Human surprisal covers only words that can be drawn, so compare at their
                # positions.
                of_words = target.value is None and self._plan.human is not None
                units.append(Match(open_, target.figure, entry.target, matcher, of_words))
        results = self._stages.results("matching", units, len(units)) if units else ()
        for entry, (_, result) in zip(entries, results, strict=True):
            match = entry.take(result)
            entry.sampler = read_sampler(match["value"]) if match else entry.sampler

    def _on_contexts(self, contexts: Contexts, at: Sequence[float]) -> Result:
        """Return the result of `MeasureOnContexts`, with an item of `samplers` for every entry.

        A decoder's item is empty: its next token depends on the search so far.
        """
        entries = [e for e in self._entries if e.error is None and e.candidate.decoder is None]
        merged = self._measured("teacher forcing", contexts, [e.sampler for e in entries], at)
        records = {id(entry): each for entry, each in zip(entries, merged["samplers"], strict=True)}
        merged["samplers"] = [
            (entry.take(records[id(entry)]) or {}) if id(entry) in records else {}
            for entry in self._entries
        ]
        return merged

    def _measured(
        self, stage: str, contexts: Contexts, samplers: list[Sampler], at: Sequence[float]
    ) -> Result:
        """Return the result of `MeasureOnContexts` on all texts, one unit after the other."""
        n, strategies = len(contexts.texts), tuple(map(Strategy, samplers))
        parts = [range(first, min(first + UNIT, n)) for first in range(0, n, UNIT)]
        units = [
            MeasureOnContexts(stage, part[0], contexts.some(part), strategies, tuple(at))
            for part in parts
        ]
        return on_contexts.merge(
            [result for _, result in self._stages.results(stage, units, len(units))]
        )

    def _generated_texts(self) -> list[list[TextRecord]]:
        """Return the texts of each entry; an empty list for a sampler that has failed."""
        s = self._plan
        # Model calls are counted for some texts only in a comparison with a decoder.
        is_counted = any(entry.candidate.decoder for entry in self._entries)
        shares = (
            share
            for at, entry in enumerate(self._entries)
            for share in shares_of(at, self._runs(entry), s.prompts, is_counted)
        )
        units = packed(shares, s.kept_prompts)
        # Lazy, so that a sampler that fails in one unit gets no further one.
        wanted = filter(None, (self._without_failed(unit) for unit in units))
        by_share: list[dict[int, list[TextRecord]]] = [{} for _ in self._entries]
        for unit, results in self._stages.results("generated texts", wanted, len(units)):
            for share, result in zip(unit.shares, results, strict=True):
                record = self._entries[share.entry].take(result)
                by_share[share.entry][share.number] = [
                    text
                    if s.keeps(text["prompt"], text["seed"], text["sample"])
                    else without_details(text)
                    for text in (record["value"] if record else [])
                ]
        return [[text for _, some in sorted(each.items()) for text in some] for each in by_share]

    def _without_failed(self, unit: DrawTexts) -> DrawTexts | None:
        """Return the unit without the texts of samplers that have failed; None if none is left."""
        shares = [each for each in unit.shares if self._entries[each.entry].error is None]
        return replace(unit, shares=tuple(shares)) if shares else None

    def _runs(self, entry: OpenEntry) -> Iterator[Texts]:
        """Yield an entry's texts of any prompt, seed by seed."""
        s = self._plan
        # A deterministic decoder writes one text per prompt, the same for every seed.
        seeds, n = (s.seeds[:1], 1) if entry.writes_one_text else (s.seeds, s.n)
        for seed in seeds:
            yield Texts("", entry.strategy, s.length, n, seed)

    def _measurements(
        self,
        records: list[Result],
        texts: list[list[TextRecord]],
        human: HumanEntry | None,
        of_contexts: Inference,
    ) -> dict[str, Measured]:
        """Return the measurements by entry, without samplers that have failed."""
        measured: dict[str, Measured] = {}
        human_band = band(human.teacher_forced) if human else None
        scored = self._scores("second scorer", texts)
        columns = zip(self._entries, records, texts, scored, strict=True)
        for done, (entry, record, drawn, scores) in enumerate(columns):
            self._stages.progress("figures", done, len(self._entries))
            if entry.error is None:
                plan = self._plan
                own = TextSet(
                    drawn, human_band, plan.metrics, scores, self._human_texts, model=plan.model,
                    clusters=plan.cluster_of, anytime=plan.anytime,
                )  # fmt: skip
                measured[entry.name] = Measured(record, own, of_contexts)
        self._stages.progress("figures", len(self._entries), len(self._entries))
        return measured

    def _scores(self, stage: str, texts: Sequence[Sequence[TextRecord]]) -> list[list[Score]]:
        """Return the scores of the texts of each entry under the second scorer, if there is one."""
        by_entry: list[list[Score]] = [[] for _ in texts]
        if self._plan.scorer is None:
            return by_entry
        units = [
            # The second scorer has a template of its own, or none.
            ScoreTexts(
                stage,
                entry,
                some.start,
                tuple((self._plan.written(t["prompt"]), t["text"]) for t in part),
            )
            for entry, drawn in enumerate(texts)
            for some in ContinuousBatch.batches(len(drawn))
            if (part := drawn[some.start : some.stop])
        ]
        for unit, scores in self._stages.results(stage, units, len(units), SCORER):
            by_entry[unit.entry] += scores
        return by_entry

    def _finished(
        self,
        measured: Mapping[str, Measured],
        human: HumanEntry | None,
        contexts: Result | None,
    ) -> Iterator[SamplerEntry]:
        """Yield the entry of each sampler.

        Args:
            measured: the measurements by entry.
            human: the human entry.
            contexts: the record of the model on the contexts, if they are human text.
        """
        names = {entry.candidate.name: entry.name for entry in self._entries}
        against = self._plan.against or (HUMAN if human else next(iter(names)))
        name = names.get(against, against)
        other = measured.get(name)
        for each in self._entries:
            own = None if each.error else measured[each.name]
            entry = replace(each.described(), failed_metrics={})
            if own is not None:
                if own.record:
                    entry.teacher_forced = teacher_forced(own.record, contexts, own.inference)
                entry.generated_texts = own.texts.summary()
                entry.texts = [
                    replace(text, prompt=self._plan.written(text.prompt))
                    for text in kept_texts(own.texts.records, own.texts.of_text, self._plan.keeps)
                ]
                entry.failed_metrics = own.texts.failures
                if human and against == HUMAN:
                    entry.differences = from_human(entry, own, human, contexts, self._people)
                elif other and own is not other:
                    entry.differences = from_entry(name, own, other, contexts)
            yield entry
